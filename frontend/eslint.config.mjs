/** What tsc does not check: unused names, accidental comparisons, and how long and how tangled a function is. */

import js from "@eslint/js";
import globals from "globals";

const rules = {
  "eqeqeq": ["error", "always", { null: "ignore" }],
  "no-shadow": "error",
  "no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
  "no-var": "error",
  "object-shorthand": "error",
  "prefer-const": "error",
};
// A function or class that needs more has two subjects.
const sizes = {
  "complexity": ["error", 12],
  "max-depth": ["error", 3],
  "max-lines": ["error", 250],
  "no-console": ["error", { allow: ["error"] }],
  "max-lines-per-function": ["error", { max: 40 }],
};

// Run from the repository's root, so that the admin's scripts, which need no build, are checked too.
export default [
  js.configs.recommended,
  { rules },
  { files: ["**/*.js"], languageOptions: { globals: globals.browser } },
  { files: ["frontend/src/**/*.js"], rules: sizes },
  { files: ["**/*.mjs"], languageOptions: { globals: globals.node } },
];
