// Counts the results of http-cache-tests: passed of required and of optimal tests, and what failed.
//
//   node count.mjs SUITE RESULTS LEAST_REQUIRED LEAST_OPTIMAL

import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

const [suite, file, leastRequired, leastOptimal] = process.argv.slice(2)
const load = async name => (await import(pathToFileURL(`${suite}/tests/${name}.mjs`))).default
const suites = [...await load('index'), await load('surrogate-control')]
// The suite reports setup trouble on lines before its JSON.
const text = readFileSync(file, 'utf8')
const results = JSON.parse(text.slice(text.indexOf('{')))

// As the suite's own runner: what is for browsers is not run against a proxy.
const tests = suites.flatMap(suite => suite.tests).filter(test => test.browser_only !== true)
const kinds = { required: [], optimal: [], check: [] }
for (const test of tests) kinds[test.kind ?? 'required'].push(test)

const byId = new Map(tests.map(test => [test.id, test]))
const passed = test => results[test.id] === true
// As cache-tests.fyi shows it: a test whose premise failed says nothing.
const counts = test => passed(test) && (test.depends_on ?? []).every(id => counts(byId.get(id)))

for (const kind of ['required', 'optimal']) {
  for (const test of kinds[kind].filter(test => !passed(test))) {
    const result = results[test.id] ?? ['-', 'was not run']
    console.log(`${kind}  ${test.id}: ${result[0]}: ${result[1]}`)
  }
}
const sum = (kind, is) => kinds[kind].filter(is).length
for (const kind of ['required', 'optimal', 'check']) {
  const premises = sum(kind, counts)
  console.log(`${kind}: ${sum(kind, passed)} of ${kinds[kind].length} passed (${premises} with all their premises)`)
}
const enough = sum('required', passed) >= Number(leastRequired) && sum('optimal', passed) >= Number(leastOptimal)
console.log(enough ? 'ok' : `too few: ${leastRequired} and ${leastOptimal} are asked for`)
process.exit(enough ? 0 : 1)
