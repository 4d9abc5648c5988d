"""How the page looks, on paper, on dark screens and on narrow ones."""

from __future__ import annotations

from flwr_byzantine.lab.page.colours import DARK, LIGHT, LINES_DARK, LINES_LIGHT, variables

_LIGHT = (
    "--paper:#f6f7f8;--card:#ffffff;--ink:#1c2024;--soft:#59616b;--line:#dde1e6;--link:#0b5cad;"
    "--bar:#b9cbe0;--bad:#a3231c;--tag:#e4eef9;--tagink:#0b4a8c;" + variables(LIGHT, LINES_LIGHT)
)
_DARK = (
    "--paper:#0f1216;--card:#171b21;--ink:#e8eaed;--soft:#a3abb5;--line:#2e353e;--link:#7db8f5;"
    "--bar:#3d5878;--bad:#ff9a8f;--tag:#1d3552;--tagink:#a9d1fb;" + variables(DARK, LINES_DARK)
)

_RULES = """
*{box-sizing:border-box}
html{color-scheme:light dark;scroll-behavior:auto;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;
overflow-wrap:anywhere}
main,footer{max-width:1280px;margin:0 auto;padding:0 32px}
header{padding:48px 0 8px}
h1{font-size:38px;line-height:1.15;margin:0 0 8px;letter-spacing:-.02em;text-wrap:balance}
h2{font-size:23px;line-height:1.25;margin:0 0 10px;letter-spacing:-.01em}
h3{font-size:16px;margin:26px 0 8px}
p{margin:0 0 14px;max-width:80ch}
section>:last-child{margin-bottom:0}
.soft{color:var(--soft)}
.eyebrow{margin:0 0 6px;font-size:12.5px;font-weight:650;letter-spacing:.08em;
text-transform:uppercase;color:var(--soft)}
a{color:var(--link);text-underline-offset:3px}
:focus-visible{outline:3px solid var(--link);outline-offset:2px;border-radius:4px}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;
padding:26px 28px 24px;margin:20px 0;min-width:0}
.advice{border-left:6px solid var(--link)}
.advice h2{font-size:30px;margin-bottom:8px}
.reason{font-size:18px}
.advice dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,220px),1fr));gap:14px;
margin:22px 0 0}
.advice dl div{border-top:1px solid var(--line);padding-top:12px}
dt{color:var(--soft);font-size:14px}
dd{margin:0}
.advice dd b{display:block;font-size:32px;line-height:1.2;font-weight:650;letter-spacing:-.02em;
font-variant-numeric:tabular-nums}
.advice dd span{font-size:14px}
nav ul{list-style:none;display:flex;flex-wrap:wrap;gap:6px 20px;margin:24px 0 0;padding:0;font-size:14.5px}
.scroll{position:relative;overflow-x:auto;max-width:100%;margin:0 0 6px}
.scroll>svg{display:block;width:100%;max-width:var(--wide);min-width:calc(.72*var(--wide));height:auto}
table{border-collapse:collapse;font-size:14.5px;line-height:1.35;overflow-wrap:normal}
caption{text-align:left;color:var(--soft);font-size:13.5px;padding:0 0 8px;position:sticky;left:0;
max-width:calc(100vw - 62px)}
th,td{padding:8px 14px;border-bottom:1px solid var(--line);text-align:left;vertical-align:middle}
thead th{font-size:13px;font-weight:600;color:var(--soft);vertical-align:bottom;
border-bottom-color:var(--soft)}
tbody th{font-weight:600;white-space:nowrap}
.name{display:inline-block;max-width:min(42vw,360px);white-space:normal;overflow-wrap:break-word;
vertical-align:middle}
tr:first-child th:first-child,tbody th{padding-left:2px}
tbody th,thead tr:first-child th:first-child{position:sticky;left:0;background:var(--card);z-index:1}
td.num,th.num{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
small{display:block;color:var(--soft);font-size:12.5px}
.group{border-left:1px solid var(--line);white-space:nowrap}
.tag{display:inline-block;margin-left:8px;padding:1px 8px;border-radius:99px;background:var(--tag);
color:var(--tagink);font-size:11.5px;font-weight:600}
.bad{color:var(--bad);font-weight:600}
.errors{padding-left:20px;margin:0 0 14px}
.errors li{margin-bottom:4px;max-width:100ch}
.meter{display:block;min-width:64px;padding:1px 6px;border-radius:3px;
background:linear-gradient(90deg,var(--bar) var(--share),transparent var(--share));
box-shadow:inset 0 0 0 1px var(--line)}
.wide{width:260px;min-width:160px}
.bar{display:block;height:12px;border-radius:3px;width:var(--share);min-width:2px;background:var(--bar)}
.node b{display:block;font-weight:600}
.hidden{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
code,pre{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;font-size:.88em}
pre{overflow-x:auto;white-space:pre-wrap;padding:14px 16px;border:1px solid var(--line);border-radius:8px;
background:var(--paper);margin:0;line-height:1.5}
details{border-top:1px solid var(--line);padding:9px 0}
summary{cursor:pointer;font-size:14.5px;font-weight:600}
details .scroll{margin-top:10px}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,330px),1fr));gap:20px 26px}
figure{margin:0;min-width:0;break-inside:avoid}
figure h3{margin:6px 0}
figure p{font-size:13.5px;margin:4px 0 0}
.chart{display:block;width:100%;max-width:460px;height:auto;font-size:12.5px}
.chart text{fill:var(--ink)}
.chart .tick{fill:var(--soft);font-size:11.5px;font-variant-numeric:tabular-nums}
.chart .strong{font-weight:650}
.chart .rule{stroke:var(--line);fill:none}
.chart .clean{stroke:var(--soft);fill:none;stroke-width:1.5;stroke-dasharray:1.5 4}
.line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.chart .app{stroke:var(--ink);stroke-width:3.2;fill:none}
.chart .band{stroke:none;fill-opacity:.2}
.chart .band.app{fill:var(--ink)}
.mark{stroke-width:1.6;stroke-linejoin:round}
.chart .thread{fill:none;stroke-width:1;stroke-opacity:.65}
.chart .broke{stroke-dasharray:1 4}
.settings{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,240px),1fr));gap:12px 24px;
margin:0 0 20px}
footer{padding-bottom:40px;color:var(--soft);font-size:13.5px}
@media (max-width:640px){
main,footer{padding:0 14px}
header{padding-top:28px}
h1{font-size:29px}
.advice h2{font-size:25px}
section{padding:18px 15px 16px;margin:14px 0}
.reason{font-size:16.5px}
th,td{padding:7px 10px}
.tag{display:table;margin:3px 0 0}
}
.meter,.bar,.tag{-webkit-print-color-adjust:exact;print-color-adjust:exact}
.advice details{margin-top:18px}
.advice details p{margin-top:10px}
@media print{body{background:#fff}section{border-color:#ccc;break-inside:auto}nav{display:none}
.scroll{overflow:visible}.scroll>svg{min-width:0}tbody th{position:static}table{font-size:12px}
th,td{padding:4px 7px}figure,tr,svg{break-inside:avoid}h2,h3{break-after:avoid}}
"""


def _lines() -> str:
    return "".join(
        f".c{i}{{stroke:var(--c{i})}}.mark.c{i},.band.c{i}{{fill:var(--c{i})}}"
        for i in range(len(LINES_LIGHT))
    )


STYLE = (
    f":root{{{_LIGHT}}}@media (prefers-color-scheme:dark){{:root{{{_DARK}}}}}"
    f"{_RULES.replace(chr(10), '')}{_lines()}"
)
