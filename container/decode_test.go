package container

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

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

// fuzzDecode checks that decode takes what encoding/json takes, with the same
// result, where both say that names are right; and that it says why it refuses.
func fuzzDecode[T any](t *testing.T, data []byte) {
	t.Helper()
	var got, want T
	ignored, err := decode(data, &got)
	if err != nil {
		invalid, ok := errors.AsType[*town.InvalidError](err)
		if !ok || len(invalid.Issues) == 0 || invalid.Issues[0].Message == "" || len(invalid.Issues) > maxNamed {
			t.Errorf("decode(%q) = %v, want an InvalidError with issues", data, err)
		}
		return
	}
	if len(ignored) > maxNamed {
		t.Errorf("decode(%q) names %d fields", data, len(ignored))
	}
	again, err := json.Marshal(got)
	if err != nil {
		t.Fatalf("decode(%q) = %+v, which is no JSON: %v", data, got, err)
	}
	if err := json.Unmarshal(again, &want); err != nil {
		t.Fatal(err)
	}
	if second, err := json.Marshal(want); err != nil || string(second) != string(again) {
		t.Errorf("decode(%q) = %s, which reads back as %s, %v", data, again, second, err)
	}
}

func TestDecodeReadsWhatTheDomainWrites(t *testing.T) {
	grace := 2.5
	for _, want := range []any{
		&town.StartRequest{
			AgentID: "a", Prompt: "é\n\u2028\"\\�", EnvVars: map[string]string{"EMPTY": "", "LINES": "a\nb", "BIG": strings.Repeat("x", 100_000)},
			Command: []string{"sh", "-c", "exit"}, Generation: 7, Cols: 80, Rows: 24, Resume: true, Limits: town.Limits{Seconds: 1.5, Tokens: 9},
		},
		&town.StopRequest{Signal: "SIGKILL", GraceSeconds: &grace},
		&town.MessageRequest{Prompt: "x", Deliver: town.DeliverNow},
	} {
		data, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got := reflect.New(reflect.TypeOf(want).Elem()).Interface()
		ignored, err := decode(data, got)
		if err != nil || len(ignored) > 0 || !reflect.DeepEqual(got, want) {
			t.Errorf("decode(%.200s) = %+v, %q, %v", data, got, ignored, err)
		}
	}
}
