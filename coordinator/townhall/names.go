package townhall

import (
	"fmt"
	"math/rand/v2"
)

// polecatNames is the pool that polecats are named from: short, easy to tell apart
// by eye and ear, and good as a part of a branch's name.
var polecatNames = []string{
	"amber", "birch", "cedar", "dusty", "ember", "fable", "gizmo", "hazel", "indigo", "jasper", "koala", "lemon",
	"maple", "nimbus", "onyx", "pepper", "quartz", "rusty", "sable", "toast", "umber", "velvet", "willow", "yarrow", "zephyr",
}

// pickName returns a name of the pool that no live bead of the rig has, and one
// with a number when all are taken.
func pickName(taken map[string]bool) string {
	first := rand.IntN(len(polecatNames))
	for n := 1; ; n++ {
		for i := range polecatNames {
			name := polecatNames[(first+i)%len(polecatNames)]
			if n > 1 {
				name = fmt.Sprintf("%s%d", name, n)
			}
			if !taken[name] {
				return name
			}
		}
	}
}
