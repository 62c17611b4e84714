// The charts of a report: draws the documents that are embedded in the page.

import { drawStudy } from "./draw.js";

const data = (id) => JSON.parse(document.getElementById(id)?.textContent ?? "null");
const study = data("study-document");
const why = data("study-why");
drawStudy([study], {
  into: document.getElementById("charts"),
  live: false,
  whys: new Map(why === null ? [] : [[study.study, why]]),
});
document.documentElement.classList.add("drawn");
