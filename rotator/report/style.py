"""The page's style sheet: light and dark, wide and narrow, and on paper."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--back:#fff;--panel:#f6f8fa;--line:#d0d7de;--life:#8fb8de;
--due:#e3a008;--pulled:#9a6700;--grace:#8250df;--bad:#b42318;--good:#1a7f37;--now:#b42318;--bar:#4a7fb0}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9aa7b4;--back:#0d1117;--panel:#161b22;--line:#30363d;
--life:#35618e;--due:#bb8009;--pulled:#e3b341;--grace:#a371f7;--bad:#ff7b72;--good:#56d364;--now:#ff7b72;--bar:#5b9bd5}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:76rem;padding:1.5rem;font:15px/1.5 system-ui,sans-serif;color:var(--ink);
background:var(--back);overflow-wrap:anywhere}
h1{font-size:1.5rem;margin:0}
h2{font-size:1.25rem;margin:2.5rem 0 .5rem;border-top:2px solid var(--line);padding-top:1rem}
h3{font-size:1rem;margin:1.75rem 0 .5rem}
p{margin:.4rem 0}
.soft,.key{color:var(--soft);font-size:.87em}
.tiles{display:flex;flex-wrap:wrap;gap:.6rem;margin:.8rem 0}
.tile{background:var(--panel);border:1px solid var(--line);border-radius:6px;padding:.4rem .8rem;min-width:6rem}
.tile b{display:block;font-size:1.3rem;line-height:1.3;font-weight:600}
.verdict{border-left:4px solid var(--good);background:var(--panel);padding:.6rem .9rem;margin:.8rem 0}
.verdict.bad{border-color:var(--bad)}
table{border-collapse:collapse;width:100%;font-size:.92em}
th,td{text-align:left;vertical-align:top;padding:.3rem .7rem .3rem 0;border-bottom:1px solid var(--line)}
th{color:var(--soft);font-weight:500}
td{min-width:4.5rem}
td:first-child{min-width:7rem}
.kinds td:nth-child(2),.risks td:nth-child(2),.risks td:nth-child(3){white-space:nowrap}
.audit td:nth-child(5){min-width:6.5rem}
.kinds td:last-child{min-width:14rem}
.chart{position:relative;display:flex;align-items:flex-end;height:9rem;border-bottom:1px solid var(--soft);
margin:1.4rem 0 0;gap:1px}
.chart>i{flex:1 1 0;min-width:0;height:100%;display:flex;flex-direction:column;justify-content:flex-end}
.chart i i{flex:none;display:block}
.d,.swatch.d{background:var(--bar)}
.p,.swatch.p{background:repeating-linear-gradient(45deg,var(--pulled) 0 2px,transparent 2px 5px);
outline:1px solid var(--pulled);outline-offset:-1px}
.limit{position:absolute;left:0;right:0;border-top:2px dashed var(--bad)}
.limit span{position:absolute;right:0;bottom:1px;font-size:.75rem;background:var(--back);padding:0 .2rem}
.ends{display:flex;justify-content:space-between;font-size:.8rem;color:var(--soft)}
.rows{list-style:none;margin:0;padding:0}
.rows li{display:grid;grid-template-columns:minmax(12rem,35%) 1fr;gap:.2rem 1rem;align-items:center;
border-bottom:1px solid var(--line);padding:.35rem 0;break-inside:avoid}
.rows .head{position:sticky;top:0;background:var(--back);z-index:2;font-size:.78rem;color:var(--soft)}
.rows b{font-weight:600}
.track{position:relative;height:1.9rem;background:var(--panel);overflow:hidden}
.head .track{background:none;overflow:visible;height:1.2rem}
.track i{position:absolute;display:block}
.tick{top:0;bottom:0;border-left:1px solid var(--line)}
.head .track span{position:absolute;transform:translateX(-50%);white-space:nowrap}
.head .track .today{color:var(--now);font-weight:600;background:var(--back);padding:0 .2rem;z-index:1}
.life{top:.25rem;height:.75rem;background:var(--life);border:1px solid var(--soft)}
.before{top:.25rem;height:.75rem;background:repeating-linear-gradient(90deg,var(--due) 0 2px,transparent 2px 5px);
border:1px solid var(--soft)}
.grace{top:1.15rem;height:.5rem;background:var(--grace)}
.next{top:1.15rem;height:.5rem;border:1px dashed var(--grace)}
.kill{top:1rem;height:.8rem;border-left:3px solid var(--grace)}
.now{top:0;bottom:0;border-left:2px solid var(--now)}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;font-size:.82rem;color:var(--soft);margin:.4rem 0}
.swatch{display:inline-block;width:1.6rem;height:.7rem;margin-right:.35rem;vertical-align:middle;position:static}
.swatch.life,.swatch.before,.swatch.grace,.swatch.next{height:.7rem}
.swatch.kill,.swatch.now{width:.5rem;height:.9rem}
.state{font-size:.75rem;border:1px solid currentColor;border-radius:4px;padding:0 .3rem;white-space:nowrap}
.state.bad{color:var(--bad);font-weight:600}
.state.warn{border-style:dashed}
code{font-family:ui-monospace,monospace;font-size:.9em}
details{margin:.6rem 0}
summary{cursor:pointer;color:var(--soft);font-size:.87em}
footer{margin-top:2.5rem;border-top:1px solid var(--line);padding-top:.6rem}
@media (max-width:620px){
body{padding:.8rem}
.rows li{grid-template-columns:1fr}
.rows .head span:first-child:not(.track span){display:none}
thead{display:none}
tr{display:block;border-bottom:1px solid var(--line);padding:.4rem 0}
td{display:block;border:0;padding:.05rem 0}
td:first-child{font-weight:600}
td details{font-weight:400;margin:.2rem 0}
td,td:first-child,.kinds td:last-child,.audit td:nth-child(5){min-width:0}
td[data-head]:not(:first-child):not(:empty)::before{content:attr(data-head) ": ";color:var(--soft)}
}
@media print{
:root{--ink:#000;--soft:#444;--back:#fff;--panel:#fff;--line:#bbb;--life:#bcd3ea;--due:#9a6700;--pulled:#000;
--grace:#6b3fc0;--bad:#b42318;--now:#b42318;--bar:#4a7fb0}
body{max-width:none;padding:0;font-size:9.5pt}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
.rows .head{position:static}
h2,h3{break-after:avoid}
tr,.chart{break-inside:avoid}
}
"""
