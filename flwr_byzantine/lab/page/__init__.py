"""``stress.html``: one page that says what attacks do to an app, and which rule withstands them."""

from flwr_byzantine.lab.page.document import page, summary_html
from flwr_byzantine.lab.page.heatmap import heatmap_svg

__all__ = ["heatmap_svg", "page", "summary_html"]
