// The style of the page at `/`: light and dark, one column on a phone.

/** Plain CSS. */
export const PAGE_STYLE = `
:root { --bg: #f5f6f8; --card: #fff; --text: #1a2230; --soft: #5d6879; --line: #e1e5eb; --accent: #2459d6; --good: #12805c; --warn: #b26a00; --bad: #c2263b;
  --s0: #2459d6; --s1: #c2570c; --s2: #12805c; --s3: #8a3ffc; --s4: #b0256b; --s5: #5d6879; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --bg: #10141b; --card: #181e28; --text: #e6eaf1; --soft: #93a0b4; --line: #2a3240; --accent: #7ba4ff; --good: #4cc79b; --warn: #f0b04f; --bad: #ff7d8c;
  --s0: #7ba4ff; --s1: #ff9e57; --s2: #4cc79b; --s3: #c3a0ff; --s4: #ff8bc0; --s5: #93a0b4; } }
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body { margin: 0 auto; max-width: 1080px; padding: 20px; background: var(--bg); color: var(--text); font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; font-variant-numeric: tabular-nums; }
header, footer, .brand, .live, form, nav, menu { display: flex; align-items: center; gap: 10px; }
header, footer { justify-content: space-between; flex-wrap: wrap; }
header svg { width: 26px; height: 26px; } header rect { fill: var(--accent); } header rect.twin { fill: none; stroke: var(--accent); stroke-width: 2; }
h1 { font-size: 20px; margin: 0; overflow-wrap: anywhere; } h2 { font-size: 15px; margin: 0 0 10px; } h2 small { color: var(--soft); font-weight: 400; margin-left: 6px; }
.pill { padding: 2px 10px; border-radius: 99px; background: var(--accent); color: var(--card); font-size: 12px; font-weight: 600; letter-spacing: .03em; white-space: nowrap; }
.pill.slave { background: var(--s3); } .live { color: var(--soft); font-size: 13px; }
.dot { width: 9px; height: 9px; border-radius: 50%; background: var(--warn); } .dot.on { background: var(--good); } .dot.off { background: var(--bad); }
.alert { background: color-mix(in srgb, var(--warn) 14%, var(--card)); border: 1px solid var(--warn); border-radius: 10px; padding: 10px 14px; margin: 14px 0 0; overflow-wrap: anywhere; }
main { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 14px; margin: 16px 0; }
.card, .tile { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 16px; min-width: 0; }
.wide, .tiles { grid-column: 1 / -1; } .tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 14px; }
.tile span { display: block; color: var(--soft); font-size: 12px; } .tile b { font-size: 20px; font-weight: 650; overflow-wrap: anywhere; } .tile i { display: block; font-style: normal; color: var(--soft); font-size: 12px; }
.chart { position: relative; } .chart svg { display: block; width: 100%; height: 240px; touch-action: pan-y; }
.chart text { fill: var(--soft); font-size: 11px; } .chart .grid { stroke: var(--line); } .chart .cursor { stroke: var(--soft); stroke-dasharray: 3 3; }
.chart path { fill: none; stroke-width: 2; stroke-linejoin: round; }
.tip { position: absolute; top: 6px; pointer-events: none; background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 6px 10px; font-size: 12px; white-space: pre; box-shadow: 0 4px 14px #0003; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 13px; margin-top: 8px; color: var(--soft); } .legend i { display: inline-block; width: 12px; height: 3px; border-radius: 2px; margin-right: 6px; vertical-align: middle; }
.scroll { overflow-x: auto; } table { width: 100%; border-collapse: collapse; font-size: 14px; } th { text-align: left; color: var(--soft); font-weight: 500; font-size: 12px; }
th, td { padding: 6px 12px 6px 0; border-bottom: 1px solid var(--line); white-space: nowrap; } tbody tr:last-child td { border: 0; } .num { text-align: right; }
.yes { color: var(--good); } .no { color: var(--bad); } .empty, .hint { color: var(--soft); margin: 0 0 10px; font-size: 13px; } .error { color: var(--bad); overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: auto 1fr; gap: 6px 16px; margin: 0; } dt { color: var(--soft); } dd { margin: 0; text-align: right; overflow-wrap: anywhere; }
form { flex-wrap: wrap; } #address-form, #role-form { margin-bottom: 16px; }
input, select, button { font: inherit; color: inherit; background: var(--bg); border: 1px solid var(--line); border-radius: 8px; padding: 8px 12px; min-width: 0; } input:not([type=checkbox]), select { flex: 1 1 160px; }
button { cursor: pointer; background: var(--accent); border-color: var(--accent); color: var(--card); font-weight: 600; } button[value=no] { background: none; color: inherit; border-color: var(--line); } button.danger { background: var(--bad); border-color: var(--bad); }
button:disabled { opacity: .5; cursor: default; } .link { background: none; border: 0; padding: 0; color: var(--accent); font-weight: 400; } a { color: var(--accent); } :focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
footer { color: var(--soft); font-size: 13px; } nav { gap: 16px; } menu { justify-content: flex-end; padding: 0; margin: 18px 0 0; }
dialog { border: 1px solid var(--line); border-radius: 14px; background: var(--card); color: var(--text); padding: 22px; width: min(460px, calc(100vw - 40px)); } dialog::backdrop { background: #0007; } dialog form { display: block; } dialog input[type=password] { width: 100%; }
h3 { font-size: 14px; margin: 14px 0 6px; overflow-wrap: anywhere; } ul { margin: 0 0 8px; padding-left: 18px; font-size: 13px; overflow-wrap: anywhere; } small label { cursor: pointer; }
#view-form, #send-form { margin-bottom: 10px; } textarea { font: inherit; color: inherit; background: var(--bg); border: 1px solid var(--line); border-radius: 8px; padding: 8px 12px; flex: 1 1 100%; resize: vertical; }
.messages { margin-bottom: 20px; } details { border-bottom: 1px solid var(--line); padding: 6px 0; } summary { cursor: pointer; font-size: 13px; overflow-wrap: anywhere; } summary span { color: var(--soft); margin-left: 12px; }
pre { margin: 8px 0; padding: 10px; background: var(--bg); border-radius: 8px; font-size: 12px; white-space: pre-wrap; overflow-wrap: anywhere; max-height: 320px; overflow-y: auto; } pre.soft { color: var(--soft); }
td .link { text-align: left; }
@media (max-width: 640px) { body { padding: 14px; } main { grid-template-columns: minmax(0, 1fr); } .chart svg { height: 190px; } .tiles { grid-template-columns: 1fr 1fr; gap: 10px; } .tile { padding: 12px; } .tile b { font-size: 17px; } }
`;
