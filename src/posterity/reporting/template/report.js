(function () {
  "use strict";
  var root = document.documentElement;
  var kept = null;
  try { kept = localStorage.getItem("posterity-theme"); } catch (error) { kept = null; } // refused for files by some browsers
  var prefersDark = matchMedia("(prefers-color-scheme: dark)");
  var toggle = document.getElementById("theme");
  function paint(theme) {
    root.setAttribute("data-theme", theme);
    toggle.textContent = theme === "dark" ? "Light" : "Dark";
    toggle.setAttribute("aria-label", theme === "dark" ? "Show in light colours" : "Show in dark colours");
  }
  paint(kept || (prefersDark.matches ? "dark" : "light"));
  prefersDark.addEventListener("change", function (event) { if (!kept) { paint(event.matches ? "dark" : "light"); } });
  toggle.addEventListener("click", function () {
    kept = root.getAttribute("data-theme") === "dark" ? "light" : "dark";
    paint(kept);
    try { localStorage.setItem("posterity-theme", kept); } catch (error) { return; }
  });

  // Print in light colours and with everything open, then as it was.
  var opened = [];
  var before = "light";
  addEventListener("beforeprint", function () {
    before = root.getAttribute("data-theme");
    root.setAttribute("data-theme", "light");
    opened = Array.prototype.filter.call(document.querySelectorAll("details"), function (part) { return !part.open; });
    opened.forEach(function (part) { part.open = true; });
  });
  addEventListener("afterprint", function () {
    root.setAttribute("data-theme", before);
    opened.forEach(function (part) { part.open = false; });
  });

  // A link to a label opens it.
  function open() {
    var part = location.hash ? document.getElementById(location.hash.slice(1)) : null;
    if (part && part.tagName === "DETAILS") { part.open = true; part.scrollIntoView(); }
  }
  addEventListener("hashchange", open);
  open();

  Array.prototype.forEach.call(document.querySelectorAll("table.sortable"), function (table) {
    var heads = Array.prototype.slice.call(table.tHead.rows[0].cells);
    heads.forEach(function (head, column) {
      head.querySelector("button").addEventListener("click", function () {
        var isNumber = head.hasAttribute("data-number");
        var before = head.getAttribute("aria-sort");
        var ascending = before === "none" ? !isNumber : before === "descending"; // numbers: the highest first
        heads.forEach(function (other) { other.setAttribute("aria-sort", "none"); });
        head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        var rows = Array.prototype.slice.call(table.tBodies[0].rows);
        rows.sort(function (one, other) {
          var a = one.cells[column].getAttribute("data-value");
          var b = other.cells[column].getAttribute("data-value");
          if (isNumber) {
            if (a === "" || b === "") { return a === b ? 0 : a === "" ? 1 : -1; } // what is not known comes last
            return ascending ? Number(a) - Number(b) : Number(b) - Number(a);
          }
          return ascending ? a.localeCompare(b) : b.localeCompare(a);
        });
        rows.forEach(function (row) { table.tBodies[0].appendChild(row); });
      });
    });
  });

  var data = JSON.parse(document.getElementById("map-data").textContent);
  var drawing = document.getElementById("map");
  if (!drawing) { return; }
  var dots = Array.prototype.slice.call(drawing.querySelectorAll("circle"));
  var tile = document.getElementById("map-tile");
  var text = document.getElementById("map-text");
  var here = -1;
  tile.style.width = data.tile_width + "px";
  tile.style.height = data.tile_height + "px";
  function show(number) {
    if (number < 0 || number >= dots.length) { return; }
    if (here >= 0) { dots[here].classList.remove("here"); }
    here = number;
    dots[here].classList.add("here");
    var dot = data.dots[here];
    tile.style.backgroundImage = "url(" + data.sprite + ")";
    tile.style.backgroundPosition = -dot.left + "px " + -dot.top + "px";
    text.textContent = dot.id + ": " + dot.labels;
  }
  function nearest(event) {
    var box = drawing.getBoundingClientRect();
    var x = (event.clientX - box.left) * data.width / box.width;
    var y = (event.clientY - box.top) * data.height / box.height;
    var best = -1;
    var least = Infinity;
    data.dots.forEach(function (dot, number) {
      var distance = (dot.x - x) * (dot.x - x) + (dot.y - y) * (dot.y - y);
      if (distance < least) { least = distance; best = number; }
    });
    return best;
  }
  drawing.addEventListener("pointermove", function (event) { show(nearest(event)); });
  drawing.addEventListener("pointerdown", function (event) { show(nearest(event)); });
  drawing.addEventListener("keydown", function (event) {
    var step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) { return; }
    event.preventDefault();
    // From left to right, since the dots have no order of their own.
    var order = data.dots.map(function (_, number) { return number; });
    order.sort(function (one, other) { return data.dots[one].x - data.dots[other].x || one - other; });
    var place = here < 0 ? (step > 0 ? -1 : order.length) : order.indexOf(here);
    show(order[Math.min(order.length - 1, Math.max(0, place + step))]);
  });
  document.getElementById("map-label").addEventListener("change", function (event) {
    var chosen = event.target.value;
    var number = 0;
    dots.forEach(function (dot, place) {
      var has = chosen !== "" && data.dots[place].columns.indexOf(Number(chosen)) >= 0;
      dot.classList.toggle("has", has);
      number += has ? 1 : 0;
    });
    document.getElementById("map-count").textContent = chosen === "" ? "" : number + " of " + dots.length + " images";
  });
}());
