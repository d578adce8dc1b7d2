/** The token of a person, for as long as this tab is open: never in an address, never on disk beyond the tab. */
const name = "townd.token";

export const held = (): string => sessionStorage.getItem(name) ?? "";
export const hold = (token: string): void => sessionStorage.setItem(name, token);
export const drop = (): void => sessionStorage.removeItem(name);

/** Dark, light, or as the system has it. */
export type Theme = "auto" | "dark" | "light";
const themes: Theme[] = ["auto", "dark", "light"];

export function savedTheme(): Theme {
  return themes.find((t) => t === localStorage.getItem("townd.theme")) ?? "auto";
}

export function setTheme(theme: Theme): void {
  localStorage.setItem("townd.theme", theme);
  document.documentElement.dataset.theme = theme;
}

export const nextTheme = (theme: Theme): Theme => themes[(themes.indexOf(theme) + 1) % themes.length] ?? "auto";
