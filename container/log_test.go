package container_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"townd/container"
	"townd/town"
)

// account has a secret that only its JSON shows.
type account struct {
	Name   string            `json:"name"`
	APIKey string            `json:"apiKey"`
	Extra  map[string]string `json:"extra"`
	Inner  *account          `json:"inner,omitempty"`
}

// valuer is a LogValuer with secrets in it.
type valuer struct{}

func (valuer) LogValue() slog.Value {
	return slog.GroupValue(slog.String("user", "ann"), slog.String("password", "hunter2!"), slog.Any("more", map[string]any{"secret_key": "hunter2!"}))
}

func TestLogsHoldNoSecrets(t *testing.T) {
	const known = "known-secret-value"
	secrets := container.NewSecrets(known, "k\"n\nown")
	var out bytes.Buffer
	log := slog.New(container.NewRedactHandler(&out, nil, secrets))
	log = log.With("token", known, "agent", "a1").WithGroup("request").With(slog.String("authorization", "Bearer abcdefgh12345"))
	attrs := []any{
		"cookie", "c=hunter2!",
		slog.Group("outer", slog.Group("inner", slog.String("github_token", "hunter2!"), slog.Int("rows", 7))),
		slog.Group("credentials", slog.String("user", "hunter2!")),
		"account",
		account{Name: "ann", APIKey: "hunter2!", Extra: map[string]string{"x-api-key": "hunter2!", "plain": "kept"}, Inner: &account{APIKey: "hunter2!"}},
		"valuer",
		valuer{},
		"header",
		http.Header{"Authorization": {"Bearer hunter2!"}, "Accept": {"text/plain"}},
		"error", fmt.Errorf("clone https://user:hunter2!@host/x: %w", errors.New(known)),
		"quoted", fmt.Sprintf("%q", "k\"n\nown"),
		"raw", []byte(known),
		"json", json.RawMessage(`{"password":"hunter2!","list":[{"secret":"hunter2!"}]}`),
		"env",
		town.StartRequest{EnvVars: map[string]string{"MY_SECRET": "hunter2!"}},
		"pin", slog.GroupValue(slog.Int("password", 424242)),
		"url", "/agents/a1/stream?ticket=hunter2!&after=1",
		"said", "Bearer hunter2!hunter2 ghp_hunter2hunter2hunter2hunter2 sk-ant-hunter2hunter2hunter2",
		known, "as a key is the caller's fault, as a value " + known,
		"inputTokens", 1234, "usage",
		town.Usage{InputTokens: 99},
		"when", time.Second,
	}
	log.Info("leaked "+known, attrs...)
	text := out.String()
	for _, secret := range []string{known + `"`, "leaked " + known, "hunter2", "424242", `k\"n\nown`, "abcdefgh12345"} {
		if strings.Contains(text, secret) {
			t.Errorf("the log holds %q:\n%s", secret, text)
		}
	}
	for _, kept := range []string{`"agent":"a1"`, `"rows":7`, `"name":"ann"`, `"plain":"kept"`, `"user":"ann"`, `"Accept":["text/plain"]`, `"inputTokens":1234`, `"inputTokens":99`, `"when":1000000000`, "after=1", "host/x"} {
		if !strings.Contains(text, kept) {
			t.Errorf("the log lacks %s:\n%s", kept, text)
		}
	}
	if !json.Valid(out.Bytes()) {
		t.Errorf("the log is no JSON: %s", text)
	}
}

func TestSecretsAddedLaterAreMasked(t *testing.T) {
	secrets := container.NewSecrets()
	var out bytes.Buffer
	log := slog.New(container.NewRedactHandler(&out, nil, secrets)).With("a", 1)
	secrets.AddEnv(map[string]string{"NPM_TOKEN": "later-secret", "CI": "visible-value", "USE_TOKENS": "on"})
	log.Info("x", "text", "later-secret and visible-value are on")
	if text := out.String(); strings.Contains(text, "later-secret") || !strings.Contains(text, "visible-value are on") {
		t.Errorf("log = %s, want the secret gone and the rest kept", text)
	}
}

func TestShortTokenIsMaskedWhereItStandsAlone(t *testing.T) {
	secrets := container.NewSecrets("abc")
	if got := secrets.Mask("abc"); got != "[redacted]" {
		t.Errorf("Mask(abc) = %q", got)
	}
	if got := secrets.Mask("abcdef is a word"); got != "abcdef is a word" {
		t.Errorf("Mask() = %q, want the words left alone", got)
	}
}

// An error's text that reaches a caller is masked as logs are.
func TestErrorsToCallersHoldNoSecrets(t *testing.T) {
	tt := newTown(t)
	got := tt.call(http.MethodGet, "/agents/"+testToken+"/status", "")
	if got.StatusCode != http.StatusNotFound || strings.Contains(string(got.body), testToken) {
		t.Errorf("answer = %s %s, want 404 without the token", got.Status, got.body)
	}
}
