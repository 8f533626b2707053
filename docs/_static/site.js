// Whoever has no mouse reaches what scrolls within itself by the Tab key.
function reach() {
  for (const box of document.querySelectorAll("pre, .cell_output .output, .table-wrapper, .cell_output math"))
    box.scrollWidth > box.clientWidth ? box.setAttribute("tabindex", "0") : box.removeAttribute("tabindex");
}
addEventListener("load", reach);
addEventListener("resize", reach);
