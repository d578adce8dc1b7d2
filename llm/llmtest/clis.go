package llmtest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
)

// Skipper is what Program needs of a test.
type Skipper interface {
	Helper()
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Program returns the path of a real agent CLI: the one that .tools/clis pins, else
// the one of PATH. It skips the test when there is neither.
func Program(t Skipper, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatalf("%v", err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if path, err := exec.LookPath(filepath.Join(dir, ".tools/clis/node_modules/.bin", name)); err == nil {
			return path
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed: run .tools/clis/install", name)
	}
	return path
}

// ClaudeEnv returns the variables with which Claude Code asks the server at url.
func ClaudeEnv(url string) map[string]string {
	return map[string]string{"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "scripted"}
}

// CodexModel is a model for CodexEnv whose tools codex knows: it offers apply_patch.
const CodexModel = "gpt-5.5"

// CodexEnv returns the variables with which codex, as the town launches it, asks
// the server at url.
func CodexEnv(url string) map[string]string {
	return map[string]string{"OPENAI_BASE_URL": url + "/v1", "OPENAI_API_KEY": "scripted"}
}

// GeminiModel is a model that Gemini CLI asks for as it is told, without a router's errand.
const GeminiModel = "gemini-2.5-pro"

// GeminiEnv returns the variables with which Gemini CLI asks the server at url.
func GeminiEnv(url string) map[string]string {
	return map[string]string{"GOOGLE_GEMINI_BASE_URL": url, "GEMINI_API_KEY": "scripted"}
}

// KiloModel is the model of KiloEnv and OpenCodeEnv.
const KiloModel = "scripted/model"

// KiloEnv returns the variables with which Kilo asks the server at url for KiloModel.
func KiloEnv(url string) map[string]string { return engineEnv("KILO_", url) }

// OpenCodeEnv returns the variables with which OpenCode asks the server at url for
// KiloModel.
func OpenCodeEnv(url string) map[string]string { return engineEnv("OPENCODE_", url) }

func engineEnv(prefix, url string) map[string]string {
	config, err := json.Marshal(object{"provider": object{"scripted": object{
		"npm": "@ai-sdk/openai-compatible", "name": "Scripted",
		"options": object{"baseURL": url + "/v1", "apiKey": "scripted"},
		"models": object{"model": object{
			"name": "Scripted", "tool_call": true,
			"cost": object{"input": 3, "output": 15}, "limit": object{"context": 100_000, "output": 8_000},
		}},
	}}})
	if err != nil {
		panic(err) // of constants
	}
	return map[string]string{prefix + "CONFIG_CONTENT": string(config), prefix + "DISABLE_MODELS_FETCH": "1"}
}
