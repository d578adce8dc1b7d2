package llmtest

// CodexModel is a model for CodexEnv whose tools codex knows: it offers apply_patch.
const CodexModel = "gpt-5.5"

// CodexEnv returns the variables with which codex, as the town launches it, asks
// the server at url.
func CodexEnv(url string) map[string]string {
	return map[string]string{"OPENAI_BASE_URL": url + "/v1", "OPENAI_API_KEY": "scripted"}
}
