// The theme that the reader chose last, set before anything is drawn so that nothing flashes.

try {
  document.documentElement.dataset.theme = localStorage.getItem("nas-theme") ?? "auto";
} catch {
  // A browser that keeps nothing goes by its own setting.
}
