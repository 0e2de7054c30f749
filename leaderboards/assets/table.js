// Sorting by the header's button; filtering rows and columns by the form of a table.
"use strict";
(() => {
  const value = (row, column) => {
    const cell = row.cells[column];
    if (!cell.classList.contains("num")) return cell.textContent.trim().toLowerCase();
    const text = cell.dataset.value ?? cell.textContent.trim();
    return text === "" || Number.isNaN(Number(text)) ? null : Number(text);
  };

  // Missing values stay below, whichever way the column is sorted.
  const sort = (table, column, ascending) => {
    const body = table.tBodies[0];
    const keyed = [...body.rows].map((row) => [value(row, column), row]);
    keyed.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      const order = typeof a === "number" ? a - b : a.localeCompare(b);
      return ascending ? order : -order;
    });
    body.append(...keyed.map(([, row]) => row));
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const numeric = head.classList.contains("num");
        const ascending = head.ariaSort ? head.ariaSort === "descending" : !numeric;
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        sort(table, column, ascending);
      });
    });
  }

  for (const form of document.querySelectorAll("form[data-table]")) {
    const table = document.getElementById(form.dataset.table);
    const count = form.querySelector("output");
    const apply = () => {
      let shown = 0;
      const rows = [...table.tBodies[0].rows];
      for (const row of rows) {
        row.hidden = [...form.querySelectorAll("select[data-rows]")].some(
          (select) => select.value && row.dataset[select.dataset.rows] !== select.value);
        shown += !row.hidden;
      }
      for (const select of form.querySelectorAll("select[data-columns]")) {
        for (const cell of table.querySelectorAll(`[data-${select.dataset.columns}]`)) {
          cell.hidden = select.value !== "" && cell.dataset[select.dataset.columns] !== select.value;
        }
      }
      count.textContent = `${shown} of ${rows.length} rows`;
    };
    form.addEventListener("change", apply);
    apply();
  }
})();
