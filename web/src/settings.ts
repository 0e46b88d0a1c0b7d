// What the user has chosen, kept by the browser for this page.

import { effect, signal } from "@preact/signals";

export const THEMES = ["auto", "light", "dark"];
const KEY = "scaler_ui.theme";

function load(): string {
  try {
    const chosen = localStorage.getItem(KEY) ?? "auto";
    return THEMES.includes(chosen) ? chosen : "auto";
  } catch {
    return "auto"; // the browser keeps nothing for this page
  }
}

export const theme = signal(load());
export const isFrozen = signal(false);
effect(() => {
  try {
    localStorage.setItem(KEY, theme.value);
  } catch {
    // as above
  }
});

export const darkness = matchMedia("(prefers-color-scheme: dark)");
const isDarkByDefault = signal(darkness.matches);
darkness.addEventListener("change", () => (isDarkByDefault.value = darkness.matches));

export function isDark(): boolean {
  return theme.value === "dark" || (theme.value === "auto" && isDarkByDefault.value);
}
