package worker_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"townd/container/ui/e2e/steps"
	"townd/town"
)

// The Worker serves the dashboard of its towns: a person in a real browser does there
// what the control server's own allows, with a townd as the town's container.
func TestDashboardOfTheWorkerInABrowser(t *testing.T) {
	keys, assertion := access(t, "team.example.com", "tag")
	c := newContainer(t)
	settings := []string{"ACCESS_TEAM=team.example.com", "ACCESS_AUD=tag", "ACCESS_KEYS=" + keys}
	w := serve(t, "http://"+c.address, append(settings, "TOWNS=elsewhere, "+townID)...)
	c.start(w.url)
	hall, _ := newRig(t, w, town.RigSettings{CLI: "command", Command: []string{
		"bash", "-c", `for i in $(seq 12); do printf '\033[38;2;9;200;9mgreen\033[0m\n'; done; PS1='$ ' exec bash --norc --noprofile`,
	}})
	b, _, err := hall.CreateBead(t.Context(), "app", town.BeadRequest{Title: "a shell"})
	if err != nil {
		t.Fatal(err)
	}
	until(t, hall, b.ID, town.BeadInProgress)
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	steps.Run(t, "../container/ui/e2e/worker.mjs", 8*time.Minute,
		"TOWND_URL="+w.url, "TOWND_TOKEN="+token, "TOWN="+townID, "CONTAINER_URL=http://"+c.address,
		fmt.Sprint("CONTAINER_PID=", c.server.Process.Pid), "ALONE_URL="+serve(t, "http://"+c.address).url,
		"OTHER_URL="+other.URL, "ASSERTION="+assertion, "SHOTS="+os.Getenv("TOWND_UI_SHOTS"))
}

// access returns the keys of a team of Cloudflare Access, and what it says of a person
// who may use the application of that tag.
func access(t *testing.T, team, tag string) (keys, assertion string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	object := func(v map[string]any) []byte {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	said := encode(object(map[string]any{"alg": "RS256"})) + "." + encode(object(map[string]any{
		"iss": "https://" + team, "aud": []string{tag}, "exp": time.Now().Add(time.Hour).Unix(), "email": "ada@example.com",
	}))
	sum := sha256.Sum256([]byte(said))
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	keys = string(object(map[string]any{"keys": []map[string]any{{
		"kty": "RSA", "alg": "RS256", "n": encode(key.N.Bytes()), "e": encode(big.NewInt(int64(key.E)).Bytes()),
	}}}))
	return keys, said + "." + encode(signature)
}
