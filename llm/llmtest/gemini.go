package llmtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// gemini is Google's protocol of /v1beta/models/{model}:{method}
// (ai.google.dev/api/generate-content).
type gemini struct {
	model  string
	stream bool
}

// geminiCall splits the path of a call of a model, as
// /v1beta/models/gemini-2.5-pro:streamGenerateContent.
func geminiCall(path string) (model, method string, ok bool) {
	_, rest, ok := strings.Cut(path, "/models/")
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, ":")
}

type geminiPart struct {
	Text         string `json:"text"`
	Thought      bool   `json:"thought"`
	FunctionCall struct {
		Name string `json:"name"`
	} `json:"functionCall"`
	FunctionResponse *struct {
		Response json.RawMessage `json:"response"`
	} `json:"functionResponse"`
}

type geminiContent struct {
	Role  string       `json:"role"`
	Parts []geminiPart `json:"parts"`
}

func (c geminiContent) text() string {
	var texts []string
	for _, p := range c.Parts {
		if p.Text != "" && !p.Thought {
			texts = append(texts, p.Text)
		}
	}
	return strings.Join(texts, "\n")
}

func (g gemini) parse(body []byte) (*Request, error) {
	var in struct {
		System   geminiContent   `json:"systemInstruction"`
		Contents []geminiContent `json:"contents"`
		Tools    []struct {
			Functions []struct {
				Name       string          `json:"name"`
				Parameters json.RawMessage `json:"parameters"`
				JSONSchema json.RawMessage `json:"parametersJsonSchema"`
			} `json:"functionDeclarations"`
		} `json:"tools"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	r := &Request{Model: g.model, System: in.System.text(), Stream: g.stream}
	for _, c := range in.Contents {
		r.Messages = append(r.Messages, c.messages()...)
	}
	for _, t := range in.Tools {
		for _, f := range t.Functions {
			spec := ToolSpec{Name: f.Name}
			for _, schema := range []json.RawMessage{f.Parameters, f.JSONSchema} {
				_ = json.Unmarshal(schema, &spec.Schema) // one of the two is missing
			}
			r.Tools = append(r.Tools, spec)
		}
	}
	r.Chore = len(r.Tools) == 0
	return r, nil
}

// messages takes the results of tools out of the user's content.
func (c geminiContent) messages() []Message {
	m := Message{Role: c.Role, Text: c.text()}
	if m.Role == "model" {
		m.Role = "assistant"
	}
	var results []Message
	for _, p := range c.Parts {
		if p.FunctionCall.Name != "" {
			m.Calls = append(m.Calls, p.FunctionCall.Name)
		}
		if p.FunctionResponse != nil {
			results = append(results, Message{Role: "tool", Text: string(p.FunctionResponse.Response)})
		}
	}
	if len(results) > 0 {
		return results
	}
	return []Message{m}
}

func (g gemini) events(w io.Writer, r *Request, st Step) {
	send := func(data any) {
		b, err := json.Marshal(data)
		if err != nil {
			panic(err) // of a script's own making
		}
		fmt.Fprintf(w, "data: %s\r\n\r\n", b)
	}
	if st.Text != "" {
		send(g.answer(r, []object{{"text": st.Text}}, "", st))
	}
	if st.Hang {
		return
	}
	send(g.answer(r, g.calls(r, st), "STOP", st))
}

// geminiRoute answers Gemini CLI's errand before a message when no model is named:
// which one is to have it.
const geminiRoute = `{"reasoning":"scripted","model_choice":"pro","complexity_reasoning":"scripted","complexity_score":50}`

func (g gemini) whole(r *Request, st Step) any {
	if r.Chore {
		st.Text = geminiRoute
	}
	return g.answer(r, append([]object{{"text": st.Text}}, g.calls(r, st)...), "STOP", st)
}

func (gemini) calls(r *Request, st Step) []object {
	parts := []object{}
	for i, t := range st.Tools {
		parts = append(parts, object{"functionCall": object{"id": r.callID("call", i), "name": t.Name, "args": t.Input}})
	}
	return parts
}

// answer is a whole answer, or a piece of a stream, each of which tells the usage so far.
func (gemini) answer(r *Request, parts []object, finish string, st Step) object {
	candidate := object{"index": 0, "content": object{"role": "model", "parts": parts}}
	if finish != "" {
		candidate["finishReason"] = finish
	}
	prompt := st.Usage.Input + st.Usage.CacheRead + st.Usage.CacheWrite
	return object{
		"candidates": []object{candidate}, "modelVersion": r.Model, "responseId": fmt.Sprintf("resp_%06d", r.answer),
		"usageMetadata": object{
			"promptTokenCount": prompt, "candidatesTokenCount": st.Usage.Output, "cachedContentTokenCount": st.Usage.CacheRead,
			"thoughtsTokenCount": 0, "totalTokenCount": prompt + st.Usage.Output,
		},
	}
}

// geminiStatus is Google's word for each kind of error (google.rpc.Code), and the
// HTTP status that goes with it.
var geminiStatus = map[string]struct {
	word string
	code int
}{
	"invalid_request_error": {"INVALID_ARGUMENT", 400},
	"authentication_error":  {"UNAUTHENTICATED", 401},
	"rate_limit_error":      {"RESOURCE_EXHAUSTED", 429},
	"overloaded_error":      {"UNAVAILABLE", 503},
	"api_error":             {"INTERNAL", 500},
}

func (gemini) fault(kind, message string) any {
	s, ok := geminiStatus[kind]
	if !ok {
		s.word, s.code = kind, 500
	}
	return object{"error": object{"code": s.code, "message": message, "status": s.word}}
}

// gemini answers a call of a model by its method.
func (s *Server) gemini(w http.ResponseWriter, r *http.Request, body []byte) {
	model, method, _ := geminiCall(r.URL.Path)
	switch method {
	case "countTokens":
		writeJSON(w, http.StatusOK, object{"totalTokens": len(body) / 4})
	case "generateContent", "streamGenerateContent":
		s.answer(w, r, body, gemini{model: model, stream: method == "streamGenerateContent"})
	default:
		writeJSON(w, http.StatusNotFound, object{"error": object{"code": 404, "message": r.URL.Path, "status": "NOT_FOUND"}})
	}
}
