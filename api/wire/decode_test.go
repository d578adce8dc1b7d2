package wire

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"townd/api"
	"townd/town"
)

func FuzzStartBody(f *testing.F) {
	f.Add([]byte(`{"agentId":"a","envVars":{"A":"1"},"limits":{"seconds":1e3},"command":["x"],"cols":80,"resume":true}`))
	f.Add([]byte(`{"agentId":null,"limits":[],"envVars":{"A":null},"command":[null]}`))
	f.Add([]byte(`{"prompt":"\ud800"}`))
	f.Add([]byte(`[[[[`))
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzDecode[town.StartRequest](t, data)
	})
}

func FuzzStopAndMessageBody(f *testing.F) {
	f.Add([]byte(`{"signal":"SIGTERM","graceSeconds":1.5,"prompt":"x","deliver":"now","mode":"read","cols":1}`))
	f.Add([]byte(`{"graceSeconds":1e999}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzDecode[town.StopRequest](t, data)
		fuzzDecode[town.MessageRequest](t, data)
		fuzzDecode[api.TicketRequest](t, data)
		fuzzDecode[api.ResizeRequest](t, data)
	})
}

func FuzzHallBodies(f *testing.F) {
	f.Add([]byte(`{"title":"x","notBefore":"2026-01-02T03:04:05.678+02:00","metadata":{"a":[1,null]},"dependsOn":["b"],"maxAttempts":3}`))
	f.Add([]byte(`{"instanceId":"i","agents":[{"agentId":"a","turn":{"state":"idle"},"lastEventAt":null}],"events":[{"agentId":"a","id":1,"event":"text","data":{}}]}`))
	f.Add([]byte(`{"entry_id":"m","commit_sha":null,"conflicts":[],"gates":"x","tasks":[{"title":"x","dependsOn":[0,-1]}],"data":"\ud800"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzDecode[town.RigSettings](t, data)
		fuzzDecode[town.BeadRequest](t, data)
		fuzzDecode[town.BeadPatch](t, data)
		fuzzDecode[town.ConvoyRequest](t, data)
		fuzzDecode[town.Heartbeat](t, data)
		fuzzDecode[town.Completion](t, data)
		fuzzDecode[api.AgentEventBatch](t, data)
		fuzzDecode[api.OutcomeRequest](t, data)
		fuzzDecode[api.CheckpointRequest](t, data)
	})
}

// fuzzDecode checks that Decode takes what encoding/json takes, with the same
// result, where both say that names are right; and that it says why it refuses.
func fuzzDecode[T any](t *testing.T, data []byte) {
	t.Helper()
	var got, want T
	ignored, err := Decode(data, &got)
	if err != nil {
		invalid, ok := errors.AsType[*town.InvalidError](err)
		if !ok || len(invalid.Issues) == 0 || invalid.Issues[0].Message == "" || len(invalid.Issues) > maxNamed {
			t.Errorf("Decode(%q) = %v, want an InvalidError with issues", data, err)
		}
		return
	}
	if len(ignored) > maxNamed {
		t.Errorf("Decode(%q) names %d fields", data, len(ignored))
	}
	again, err := json.Marshal(got)
	if err != nil {
		t.Fatalf("Decode(%q) = %+v, which is no JSON: %v", data, got, err)
	}
	if err := json.Unmarshal(again, &want); err != nil {
		t.Fatal(err)
	}
	if second, err := json.Marshal(want); err != nil || string(second) != string(again) {
		t.Errorf("Decode(%q) = %s, which reads back as %s, %v", data, again, second, err)
	}
}

func TestDecodeReadsWhatTheDomainWrites(t *testing.T) {
	grace, at := 2.5, time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	for _, want := range []any{
		&town.StartRequest{
			AgentID: "a", Prompt: "é\n\u2028\"\\�", EnvVars: map[string]string{"EMPTY": "", "LINES": "a\nb", "BIG": strings.Repeat("x", 100_000)},
			Command: []string{"sh", "-c", "exit"}, Generation: 7, Cols: 80, Rows: 24, Resume: true, Limits: town.Limits{Seconds: 1.5, Tokens: 9},
		},
		&town.StopRequest{Signal: "SIGKILL", GraceSeconds: &grace},
		&town.MessageRequest{Prompt: "x", Deliver: town.DeliverNow},
		&town.BeadRequest{Title: "x", NotBefore: &at, Metadata: json.RawMessage(`{"a":[1,null]}`), DependsOn: []string{"b"}},
		&town.Rig{RigID: "r", RigSettings: town.RigSettings{GitURL: "u", Merge: town.MergeSettings{Review: true}}, CreatedAt: at},
	} {
		data, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got := reflect.New(reflect.TypeOf(want).Elem()).Interface()
		ignored, err := Decode(data, got)
		if err != nil || len(ignored) > 0 || !reflect.DeepEqual(got, want) {
			t.Errorf("Decode(%.200s) = %+v, %q, %v", data, got, ignored, err)
		}
	}
}

func TestDecodeNamesATimeThatIsNone(t *testing.T) {
	var req town.BeadRequest
	_, err := Decode([]byte(`{"title":"x","notBefore":"tomorrow"}`), &req)
	if invalid, ok := errors.AsType[*town.InvalidError](err); !ok || invalid.Issues[0].Path != "notBefore" {
		t.Errorf("Decode() = %v, want an issue of notBefore", err)
	}
}
