package api

import _ "embed"

// TransitionsJSON is the table of what may become of a bead, which every
// coordinator follows.
//
//go:embed transitions.json
var TransitionsJSON []byte
