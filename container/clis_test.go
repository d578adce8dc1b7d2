package container_test

import (
	"slices"
	"testing"

	"townd/api"
	"townd/supervisor/agentcli"
)

func TestCLIsAreListed(t *testing.T) {
	tt := newTown(t)
	got, err := tt.CLIs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range got {
		names = append(names, c.Name)
		if c.Program != "" && (c.Install == "" || c.Tested == "" || c.Credential) {
			t.Errorf("%s of a town without credentials is %+v", c.Name, c)
		}
	}
	if !slices.Equal(names, agentcli.Names()) {
		t.Errorf("CLIs() = %q, want %q", names, agentcli.Names())
	}
	if i := slices.IndexFunc(got, func(c api.CLI) bool { return c.Name == "command" }); i < 0 || !got[i].Installed {
		t.Errorf("command is not ready: %+v", got)
	}
	if a := tt.callAs("", "GET", "/clis", ""); a.StatusCode != 401 {
		t.Errorf("GET /clis without the token: %d", a.StatusCode)
	}
}
