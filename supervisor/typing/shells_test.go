package typing_test

import (
	"os/exec"
	"strings"
	"testing"

	"townd/supervisor/typing"
)

// Programs that edit their line with readline, or with their own.
func TestShellsGetEachLineOnce(t *testing.T) {
	k := newKeeping(t)
	for _, tc := range []struct{ name, args, text, want string }{
		{"bash", "--norc -i", "echo $((6*7))x", "42x"},
		{"python3", "-i -q", "print(str(6*7)+'x')", "42x"},
		{"sh", "-i", "echo $((6*7))x", "42x"},
		{"cat", "", "a line", "a line\na line"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			program, err := exec.LookPath(tc.name)
			if err != nil {
				t.Skipf("%s is not installed", tc.name)
			}
			y := k.spawn(t, []string{"HOME=" + t.TempDir(), "PS1=$ "}, append([]string{program}, strings.Fields(tc.args)...)...)
			defer y.end(t)
			for i := range 3 {
				y.message = tc.name + string(rune('a'+i))
				if err := typing.Type(t.Context(), y, tc.text, typing.Options{Program: program}); err != nil {
					t.Fatalf("Type() = %v\n%s", err, y.text(t))
				}
			}
			if !eventually(t, func() bool { return strings.Count(y.text(t), tc.want) == 3 }) {
				t.Errorf("want %q three times:\n%s", tc.want, y.text(t))
			}
		})
	}
}

func TestAPersonIsNotInterrupted(t *testing.T) {
	k := newKeeping(t)
	y := k.spawn(t, nil, "/bin/cat")
	defer y.end(t)
	y.unfinished = true
	typed := make(chan error, 1)
	go func() { typed <- typing.Type(t.Context(), y, "a message", typing.Options{}) }()
	if err := y.k.Input(t.Context(), y.run.ID, "", []byte("a person's")); err != nil {
		t.Fatal(err)
	}
	if !eventually(t, func() bool { return strings.Contains(y.text(t), "a person's") }) {
		t.Fatal("no echo")
	}
	if err := y.k.Input(t.Context(), y.run.ID, "", []byte(" line\n")); err != nil {
		t.Fatal(err)
	}
	y.mu.Lock()
	y.unfinished = false
	y.mu.Unlock()
	if err := <-typed; err != nil {
		t.Errorf("Type() = %v", err)
	}
	const want = "a person's line\na person's line\na message\na message\n"
	if !eventually(t, func() bool { return strings.Contains(y.text(t), want) }) {
		t.Errorf("want %q:\n%s", want, y.text(t))
	}
}
