//go:build race

package townhall

const raced = true
