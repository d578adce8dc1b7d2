package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/google/jsonschema-go/jsonschema"

	"townd/town"
)

// entry is a tool: what it is called, whose it is, what it takes and does.
type entry struct {
	name       string
	roles      []town.Role
	about      string
	schema     *jsonschema.Schema
	schemaJSON json.RawMessage
	do         func(ctx context.Context, c *call, given map[string]any) (answer, error)
}

func (e *entry) allowed(role town.Role) bool { return slices.Contains(e.roles, role) }

// tool makes an entry whose arguments are an A.
func tool[A any](name string, roles []town.Role, about string, rules map[string]rule, do func(context.Context, *call, A) (answer, error)) *entry {
	schema := schemaOf[A](rules)
	schemaJSON, err := json.Marshal(schema)
	if err != nil {
		panic(fmt.Sprintf("schema of %s: %v", name, err)) // our own
	}
	return &entry{name, roles, about, schema, schemaJSON, func(ctx context.Context, c *call, given map[string]any) (answer, error) {
		var args A
		data, err := json.Marshal(given)
		if err == nil {
			err = json.Unmarshal(data, &args)
		}
		if err != nil {
			return answer{}, refuse("The arguments of %s cannot be read: %.200v.", name, err)
		}
		return do(ctx, c, args)
	}}
}

// Whose a tool is. There is none to claim work, to look whether there is any, or to
// say that one is alive (K1): the town does that.
var (
	everyone  = town.Roles()
	polecats  = []town.Role{town.RolePolecat}
	reviewers = []town.Role{town.RoleRefinery}
	hands     = []town.Role{town.RolePolecat, town.RoleRefinery}
	enders    = []town.Role{town.RolePolecat, town.RoleRefinery, town.RoleTriage, town.RoleWitness} // whose work has an end
	askers    = []town.Role{town.RolePolecat, town.RoleRefinery, town.RoleMayor}
	mayors    = []town.Role{town.RoleMayor}
)

// table is every tool, in the order in which they are listed.
var table = slices.Concat(workTools(), talkTools(), mayorTools())

// Names returns the names of a role's tools.
func Names(role town.Role) []string {
	var names []string
	for _, t := range table {
		if t.allowed(role) {
			names = append(names, t.name)
		}
	}
	return names
}

// none is what a tool takes that takes no arguments.
type none struct{}
