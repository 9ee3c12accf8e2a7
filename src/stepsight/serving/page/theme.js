// Light or dark: what the system says, until the switch says otherwise. It runs before the page is shown.
(() => {
  const KEPT = "stepsight.theme";
  const system = matchMedia("(prefers-color-scheme: dark)");
  const kept = () => { try { return localStorage.getItem(KEPT); } catch { return null; } };
  const dark = () => (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  if (["light", "dark"].includes(kept())) document.documentElement.dataset.theme = kept();

  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const show = () => button.setAttribute("aria-pressed", String(dark()));
    button.addEventListener("click", () => {
      const chosen = dark() ? "light" : "dark";
      document.documentElement.dataset.theme = chosen;
      try { localStorage.setItem(KEPT, chosen); } catch { /* it then holds until the next page */ }
      show();
    });
    system.addEventListener("change", show);
    show();
  });
})();
