"use strict";
// Light and dark: what figures are drawn with. Words that begin with @ stand for these colours.
const Theme = (() => {
  const light = {
    paper: "#ffffff", ink: "#16202e", text: "#2c3848", muted: "#596678", grid: "#e7ebf0", axis: "#b8c2ce",
    best: "#d55e00", trial: "#2f76b5", faint: "#b3bcc7", veil: "rgba(255,255,255,0.55)", compiling: "rgba(206,213,222,0.75)",
    stopped: "#8492a2", diverged: "#a8447f", failed: "#c02f3c", running: "#d99400",
    onlow: "#16202e", onhigh: "#ffffff",
    shades: ["#c4d8ea", "#9cc1de", "#6ca3cf", "#3f86bf", "#1d66a6", "#0a4580"],
    sides: ["#1d66a6", "#d55e00", "#00876a", "#a8447f", "#8a6d00", "#5b4bb5", "#4d5866", "#c02f3c"],
    scale: ["#eef5d3", "#b6e0ba", "#5fbfc0", "#2b86b8", "#25519c", "#1a2670"],
  };
  const dark = {
    paper: "#161d27", ink: "#f1f5fa", text: "#cfd8e3", muted: "#97a5b6", grid: "#252f3b", axis: "#465262",
    best: "#ff9d4d", trial: "#5aa5e3", faint: "#55616f", veil: "rgba(15,20,28,0.5)", compiling: "rgba(44,55,68,0.72)",
    stopped: "#7d8b9b", diverged: "#e089bd", failed: "#f27d83", running: "#f0b840",
    onlow: "#f1f5fa", onhigh: "#101720",
    shades: ["#26405c", "#2d5680", "#3873a8", "#4f92cb", "#7ab4e3", "#b9def8"],
    sides: ["#5aa5e3", "#ff9d4d", "#3cc9a5", "#e089bd", "#d8bd4a", "#a99bf0", "#aab6c4", "#f27d83"],
    scale: ["#232b5e", "#28549a", "#2f83b3", "#56b5b8", "#a5d9b0", "#f2f6c6"],
  };
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const listeners = [];
  let printing = false;

  const isDark = () => !printing && (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const colors = () => (isDark() ? dark : light);
  const changed = () => listeners.forEach((listener) => listener());

  function resolve(name) {
    const shade = /^@shade([0-5])$/.exec(name);
    const side = /^@side([0-7])$/.exec(name);
    if (side) return colors().sides[Number(side[1])];
    return shade ? colors().shades[Number(shade[1])] : colors()[name.slice(1)] || name;
  }
  function scale() {
    const steps = colors().scale;
    return steps.map((color, i) => [i / (steps.length - 1), color]);
  }
  function toggle() {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("tuner-theme", root.dataset.theme); } catch { /* opened from disk */ }
    changed();
  }
  try { root.dataset.theme = localStorage.getItem("tuner-theme") || ""; } catch { /* the same */ }
  if (!root.dataset.theme) delete root.dataset.theme;
  system.addEventListener("change", changed);
  return {
    colors, resolve, scale, toggle, isDark,
    onChange: (listener) => listeners.push(listener),
    print: (on) => { printing = on; },
  };
})();
