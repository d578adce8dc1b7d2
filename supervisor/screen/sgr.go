package screen

// style is SGR: it changes the pen.
func (t *terminal) style(p *params) {
	for i := 0; i < p.n; i++ {
		switch n := p.v[i]; {
		case n == 0:
			t.pen = cell{width: 1}
		case n >= 30 && n <= 37:
			t.pen.fg = palette | color(n-30)
		case n >= 40 && n <= 47:
			t.pen.bg = palette | color(n-40)
		case n >= 90 && n <= 97:
			t.pen.fg = palette | color(n-90+8)
		case n >= 100 && n <= 107:
			t.pen.bg = palette | color(n-100+8)
		case n == 38, n == 48, n == 58:
			i += t.extendedColor(p, i)
		case n == 39:
			t.pen.fg = 0
		case n == 49:
			t.pen.bg = 0
		case n == 4:
			t.pen.attr |= underline
			if subs := p.subsOf(i); len(subs) > 0 && subs[0] == 0 {
				t.pen.attr &^= underline
			}
		default:
			t.attribute(n)
		}
	}
}

// attribute carries out an SGR number that sets or clears attributes.
func (t *terminal) attribute(n int) {
	switch n {
	case 1:
		t.pen.attr |= bold
	case 2:
		t.pen.attr |= dim
	case 3:
		t.pen.attr |= italic
	case 5:
		t.pen.attr |= blink
	case 7:
		t.pen.attr |= inverse
	case 8:
		t.pen.attr |= invisible
	case 9:
		t.pen.attr |= strike
	case 21:
		t.pen.attr |= underline // twice
	case 22:
		t.pen.attr &^= bold | dim
	case 23:
		t.pen.attr &^= italic
	case 24:
		t.pen.attr &^= underline
	case 25:
		t.pen.attr &^= blink
	case 27:
		t.pen.attr &^= inverse
	case 28:
		t.pen.attr &^= invisible
	case 29:
		t.pen.attr &^= strike
	case 53:
		t.pen.attr |= overline
	case 55:
		t.pen.attr &^= overline
	}
}

// extendedColor takes the color that begins at number i, in any of the forms in
// use: 38;5;n, 38:5:n, 38;2;r;g;b, 38:2:r:g:b, 38:2:space:r:g:b. It returns how
// many numbers after i belong to it.
func (t *terminal) extendedColor(p *params, i int) (used int) {
	// The slots: what is colored, the kind, the color space, and three values.
	slots, space := [6]int{0, 0, -1}, 0
	for {
		slots[used+space] = p.v[i+used]
		if subs := p.subsOf(i + used); len(subs) > 0 {
			for k, sub := range subs {
				if slots[1] == 5 {
					space = 1
				}
				if used+k+1+space >= len(slots) {
					break
				}
				slots[used+k+1+space] = sub
			}
			break
		}
		if slots[1] == 5 && used+space >= 2 || slots[1] == 2 && used+space >= 5 {
			break
		}
		if slots[1] != 0 {
			space = 1
		}
		used++
		if i+used >= p.n || used+space >= len(slots) {
			break
		}
	}
	var c color
	switch slots[1] {
	case 2:
		c = rgb | color(max(slots[3], 0)&0xff)<<16 | color(max(slots[4], 0)&0xff)<<8 | color(max(slots[5], 0)&0xff)
	case 5:
		c = palette | color(max(slots[3], 0)&0xff)
	default:
		return used
	}
	switch slots[0] {
	case 38:
		t.pen.fg = c
	case 48:
		t.pen.bg = c
	}
	return used
}
