// Draws one sample from its parts. Text only ever enters as text: no markup is parsed anywhere.
"use strict";
const Draw = (() => {
  const SVG = "http://www.w3.org/2000/svg";

  const element = (name, css, ...children) => {
    const node = document.createElement(name);
    if (css) node.className = css;
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  };

  // Text of the data: in its own direction, and read aloud in its own language where that is known.
  const said = (name, css, text, language) =>
    Object.assign(element(name, css, text), { dir: "auto" }, language ? { lang: language } : {});

  // Boxes are in pixels of the original; the picture is scaled, and so is the overlay.
  const overlay = (picture, boxes) => {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${picture.width} ${picture.height}`);
    svg.setAttribute("aria-hidden", "true");
    // All halos lie below all lines: equal boxes show the solid line through the gaps of the dashed.
    for (const [kind, [x, y, width, height]] of [...boxes.map(([, box]) => ["halo", box]), ...boxes]) {
      const rect = document.createElementNS(SVG, "rect");
      for (const [key, value] of Object.entries({ x, y, width, height, class: `box ${kind}` })) {
        rect.setAttribute(key, value);
      }
      svg.append(rect);
    }
    return svg;
  };

  const picture = (shown, alt, boxes = []) => {
    if (shown.error) return element("div", "missing", `no picture: ${shown.error}`);
    const figure = element("div", shown.src.length > 1 ? "picture frames" : "picture");
    shown.src.forEach((source, number) => {
      const image = document.createElement("img");
      image.src = source;
      image.loading = "lazy";
      image.width = shown.width;
      image.height = shown.height;
      image.alt = shown.src.length > 1 ? `frame ${number + 1}: ${alt}` : alt;
      figure.append(image);
    });
    if (boxes.length) figure.append(overlay(shown, boxes));
    return figure;
  };

  const badge = (score, binary) => {
    if (score === null || score === undefined) return element("span", "badge none", "not scored");
    const right = score >= 0.5;
    const text = binary ? (right ? "✓ right" : "✗ wrong") : `${right ? "✓" : "✗"} ${score.toFixed(2)}`;
    return element("span", `badge ${right ? "right" : "wrong"}`, text);
  };

  const lines = (values) => {
    const list = element("ul", "lines");
    for (const value of values) list.append(said("li", "", value));
    return list;
  };

  const ranked = (entries) => {
    const list = element("ol", "ranked");
    for (const entry of entries) {
      const item = element("li", entry.right === true ? "hit" : "");
      if (entry.picture) item.append(picture(entry.picture, "ranked picture"));
      if (entry.text) item.append(said("span", "", entry.text));
      const mark = entry.right === true ? " ✓" : entry.right === false ? "" : " (unknown)";
      item.append(element("small", "", `${entry.score}${mark}`));
      list.append(item);
    }
    return list;
  };

  const matrix = (numbers) => {
    const heading = (text, scope) => Object.assign(element("th", "", text), { scope });
    const cell = (number) => element("td", "num", number.toFixed(3));
    return element("table", "matrix",
      element("tr", "", heading("", "col"), heading("picture 0", "col"), heading("picture 1", "col")),
      element("tr", "", heading("caption 0", "row"), ...numbers.slice(0, 2).map(cell)),
      element("tr", "", heading("caption 1", "row"), ...numbers.slice(2).map(cell)));
  };

  const answer = (part) => element("div", "answer",
    part.lines ? lines(part.lines) : null,
    part.box ? element("small", "", `box ${part.box.map((n) => Math.round(n)).join(", ")}`) : null,
    part.pictures ? element("div", "pictures", ...part.pictures.map((p) => picture(p, "right picture"))) : null,
    part.list ? ranked(part.list) : null,
    part.rank !== undefined
      ? element("small", "", part.rank ? `right one at rank ${part.rank}` : "right one not ranked") : null,
    part.matrix ? matrix(part.matrix) : null);

  // runs: [{name, kind, score, binary, answer}]
  const sample = (id, item, runs, detailed) => {
    const boxes = [];
    if (item.truth.box) boxes.push(["truth", item.truth.box]);
    for (const run of runs) if (run.answer && run.answer.box) boxes.push([run.kind, run.answer.box]);
    const alt = item.texts.join(" / ") || `sample ${id}`;
    const node = element("div", "parts");
    if (item.pictures.length) {
      node.append(element("div", `pictures n${item.pictures.length}`,
        ...item.pictures.map((shown) => picture(shown, alt, boxes))));
    }
    const text = element("div", "text");
    for (const line of item.texts) text.append(said("p", "said", line, item.language));
    const truth = answer(item.truth);
    if (truth.childNodes.length) text.append(element("h3", "truth", "truth"), truth);
    for (const run of runs) {
      text.append(element("h3", run.kind, runs.length > 1 || detailed ? run.name : "prediction", " ",
        badge(run.score, run.binary)));
      if (run.answer) text.append(answer(run.answer));
    }
    text.append(element("p", "id", id));
    node.append(text);
    return node;
  };

  return { element, sample };
})();
