package screen

// params are the numbers of a control sequence, each with those after colons.
type params struct {
	v        [32]int
	n        int
	subs     [32]int // of all, in order
	subN     int
	subFrom  [32]uint8 // where the subs of each begin
	inSub    bool
	full     bool // more numbers than fit: the rest is dropped
	subsFull bool
}

// clear makes p one number that is absent. What is beyond n and subN is left as
// it is: half a kilobyte, and no one looks there.
func (p *params) clear() {
	p.v[0] = 0
	p.n, p.subN = 1, 0
	p.inSub, p.full, p.subsFull = false, false, false
}

// maxParam is the largest number kept.
const maxParam = 1<<31 - 1

func (p *params) put(c byte) {
	switch c {
	case ';':
		p.inSub = false
		if p.n == len(p.v) {
			p.full = true
			return
		}
		p.subFrom[p.n] = uint8(p.subN)
		p.v[p.n] = 0
		p.n++
	case ':':
		p.inSub = true
		if p.full || p.subN == len(p.subs) {
			p.subsFull = true
			return
		}
		p.subs[p.subN] = -1
		p.subN++
	default:
		p.digit(int(c - '0'))
	}
}

func (p *params) digit(d int) {
	v := &p.v[p.n-1]
	if p.inSub {
		if p.subsFull || p.subN == 0 {
			return
		}
		v = &p.subs[p.subN-1]
	}
	if p.full {
		return
	}
	*v = min(max(*v, 0)*10+d, maxParam)
}

// at returns number i, or otherwise when it is absent or 0.
func (p *params) at(i, otherwise int) int {
	if i >= p.n || p.v[i] == 0 {
		return otherwise
	}
	return p.v[i]
}

// subsOf returns what follows number i after colons; -1 for an empty one.
func (p *params) subsOf(i int) []int {
	to := p.subN
	if i+1 < p.n {
		to = int(p.subFrom[i+1])
	}
	return p.subs[p.subFrom[i]:to]
}
