//go:build race

package townhall

// The race detector makes SQLite, which is Go here, ten times slower.
const stressBeads = 100
