"use strict";
const sections = [...document.querySelectorAll("section[data-row]")];
const names = [...document.querySelectorAll("#names option")].map((option) => option.value);
const given = (section) => {
  const chosen = section.querySelector("input[type=radio]:checked, input[type=text]");
  return chosen && names.includes(chosen.value) ? chosen.value : "";
};
const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
let saved = true;
const count = () => {
  const done = sections.filter(given).length;
  document.getElementById("done").textContent = `${done} of ${sections.length} labelled`;
  document.getElementById("save").disabled = done < sections.length;
  for (const section of sections) section.classList.toggle("labelled", Boolean(given(section)));
};
document.addEventListener("input", () => { saved = false; count(); });
document.getElementById("save").addEventListener("click", () => {
  const lines = sections.map((section) => `${cell(section.dataset.row)},${cell(given(section))}`);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([["row_id,label", ...lines, ""].join("\n")], { type: "text/csv" }));
  link.download = "labels.csv";
  link.click();
  saved = true;
});
window.addEventListener("beforeunload", (event) => { if (!saved) event.preventDefault(); });
count();
