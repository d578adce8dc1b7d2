package llmtest

// GeminiModel is a model that Gemini CLI asks for as it is told, without a router's errand.
const GeminiModel = "gemini-2.5-pro"

// GeminiEnv returns the variables with which Gemini CLI asks the server at url.
func GeminiEnv(url string) map[string]string {
	return map[string]string{"GOOGLE_GEMINI_BASE_URL": url, "GEMINI_API_KEY": "scripted"}
}
