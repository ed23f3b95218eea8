// Measures a page of a report in a frame, and sends the result to the page around it.
let blocked = 0;
addEventListener("securitypolicyviolation", () => blocked += 1);

// Returns red, green, blue and opacity from 0 to 1.
function rgba(colour) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d");
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data].map(value => value / 255);
}

// Returns the relative luminance (WCAG 2).
function luminance(colour) {
  const linear = value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const [red, green, blue] = rgba(colour).map(linear);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

// Returns the background of an element, which may be that of an ancestor.
function background(element) {
  for (let at = element; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if (rgba(colour)[3] > 0) return colour;
  }
  return "white";
}

function contrast(element) {
  const one = luminance(getComputedStyle(element).color), other = luminance(background(element));
  return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
}

addEventListener("load", () => {
  document.querySelectorAll("details").forEach(details => details.open = true);
  const all = [...document.body.querySelectorAll("*")];
  const has_text = element => [...element.childNodes].some(
    node => node.nodeType === Node.TEXT_NODE && node.data.trim());
  const texts = all.filter(element => has_text(element) && element.checkVisibility());
  const scrolls = element => element.closest(".scroll, svg");
  const measured = {
    window: innerWidth,
    width: document.documentElement.scrollWidth,
    wide: all.filter(element => !scrolls(element)
      && element.getBoundingClientRect().right > innerWidth + 1).map(element => element.outerHTML.slice(0, 200)),
    pale: texts.filter(element => contrast(element) < 4.5).map(element => element.outerHTML.slice(0, 200)),
    bars: [...document.querySelectorAll("figure rect")].filter(
      bar => bar.getBoundingClientRect().height > 0).length,
    dark: luminance(background(document.body)) < 0.2,
    texts: texts.length,
    requests: performance.getEntriesByType("resource").length,
    blocked,
    scripts: document.scripts.length,
  };
  parent.postMessage(measured, "*");
});
