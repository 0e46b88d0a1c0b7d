// Colours for what is drawn on a canvas, where no style sheet reaches. Okabe and Ito's palette, which people with any
// of the common kinds of colour blindness can tell apart, adjusted for light and for dark.

export interface Look {
  series: string[];
  line: string;
  quiet: string;
  ink: string;
  paper: string;
  bad: string;
  font: string;
}

const FONT = "12px system-ui, sans-serif";
const LIGHT: Look = {
  series: ["#0b5a97", "#b3470c", "#00724f", "#7a3e8f", "#8a6100", "#2b7fa8"],
  line: "#e3e6ea",
  quiet: "#55606d",
  ink: "#1a1f26",
  paper: "#ffffff",
  bad: "#b3261e",
  font: FONT,
};
const DARK: Look = {
  series: ["#6cb6f0", "#f0935a", "#4dcf9f", "#cf9be6", "#e3bd52", "#8fd3e8"],
  line: "#2b323b",
  quiet: "#a4afbb",
  ink: "#e6eaef",
  paper: "#14181d",
  bad: "#ff8a80",
  font: FONT,
};

export function colours(dark: boolean): Look {
  return dark ? DARK : LIGHT;
}

/** Red, green and blue of a function: by its number, spread over the circle of hues. */
export function hue(index: number, dark: boolean): [number, number, number] {
  const turn = (index * 0.61803398875 + 0.58) % 1;
  const light = dark ? 0.62 : [0.42, 0.52, 0.47][index % 3];
  return hsl(turn, index % 5 === 4 ? 0.25 : 0.6, light);
}

function hsl(h: number, s: number, l: number): [number, number, number] {
  const a = s * Math.min(l, 1 - l);
  const part = (n: number) => {
    const k = (n + h * 12) % 12;
    return Math.round(255 * (l - a * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [part(0), part(8), part(4)];
}

export function css([r, g, b]: [number, number, number]): string {
  return `rgb(${r} ${g} ${b})`;
}
