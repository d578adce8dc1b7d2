//go:build !race

package townhall

const stressBeads = 1000
