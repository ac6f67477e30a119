// Hides what the three choices leave out. Without a script everything is shown.
const form = document.querySelector('.filters');
const choice = name => form.querySelector(`[data-filter=${name}]`).value;
const suits = (row, name) => !choice(name) || row.dataset[name] === undefined || row.dataset[name] === choice(name);
function apply() {
  let failures = 0, findings = 0;
  for (const section of document.querySelectorAll('.finding')) {
    let left = 0;
    for (const row of section.querySelectorAll('.failure')) {
      row.hidden = !['engine', 'group', 'severity'].every(name => suits(row, name));
      left += !row.hidden;
    }
    section.hidden = left === 0;
    failures += left;
    findings += left > 0;
    for (const who of section.querySelectorAll('.who')) who.hidden = !suits(who, 'engine');
  }
  for (const cell of document.querySelectorAll('.groups [data-engine], .scores [data-engine], .speeds [data-engine]')) cell.hidden = !suits(cell, 'engine');
  for (const row of document.querySelectorAll('.groups tr[data-group]')) row.hidden = !suits(row, 'group');
  form.querySelector('.count').textContent = `${findings} findings, ${failures} failing cases`;
  document.querySelector('.none').hidden = findings > 0;
}
form.addEventListener('change', apply);
form.addEventListener('reset', () => setTimeout(apply));
form.addEventListener('submit', event => event.preventDefault());
apply();
