// Sets the theme that the user chose last, before anything is drawn, so that the page does not flash.

try {
  document.documentElement.dataset.theme = localStorage.getItem("nas-theme") ?? "auto";
} catch {
  // Without storage, the page uses the theme of the browser.
}
