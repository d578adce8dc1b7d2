package rules

import (
	"path"
	"slices"
	"strings"
)

// secretName reports whether a variable's name is that of a secret.
func secretName(name string) bool {
	words := strings.FieldsFunc(strings.ToUpper(name), func(r rune) bool { return r == '_' })
	for i, w := range words {
		switch w {
		case "TOKEN", "SECRET", "SECRETS", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL", "CREDENTIALS", "APIKEY", "PAT", "AUTHTOKEN", "ACCESSTOKEN":
			return true
		case "KEY":
			if i > 0 && i == len(words)-1 && words[i-1] != "PUBLIC" && words[i-1] != "CACHE" && words[i-1] != "PRIMARY" {
				return true
			}
		}
	}
	return false
}

// credentialNames are files that hold credentials, by the end of their path.
var credentialNames = []string{
	".env", ".env.local", ".env.production", ".env.development", ".env.staging", ".env.test", ".envrc", ".netrc", "_netrc", ".git-credentials", ".npmrc",
	".pypirc", ".pgpass", ".my.cnf", "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", ".aws/credentials", ".docker/config.json", ".kube/config", "kubeconfig",
	".config/gh/hosts.yml", ".config/git/credentials", ".cargo/credentials", ".cargo/credentials.toml", ".gem/credentials",
	".claude/.credentials.json", ".codex/auth.json", ".gemini/oauth_creds.json", ".local/share/opencode/auth.json", ".local/share/kilo/auth.json",
	".config/gcloud/application_default_credentials.json", ".config/gcloud/credentials.db", ".terraform.d/credentials.tfrc.json", ".vault-token",
}

// credentialFile reports whether a path is, or as a pattern may be, a file that
// holds credentials.
func credentialFile(p string) bool {
	p = strings.TrimPrefix(path.Clean(p), "file://")
	if strings.HasPrefix(p, "/proc/") && strings.HasSuffix(p, "/environ") {
		return true
	}
	if strings.HasPrefix(p, "/etc/shadow") || strings.HasPrefix(p, "/run/secrets/") {
		return true
	}
	for _, name := range credentialNames {
		if p == name || strings.HasSuffix(p, "/"+name) {
			return true
		}
		base := path.Base(p)
		if !strings.ContainsAny(base, "*?[") || strings.HasPrefix(name, ".") != strings.HasPrefix(base, ".") {
			continue
		}
		// A pattern of stars alone is a look at everything, which is not about these.
		if hit, err := path.Match(base, name); err == nil && hit && strings.Trim(base, "*") != "" {
			return true
		}
	}
	return strings.Contains(p, ".gnupg/private-keys")
}

// readers are programs that print, copy or send the files in their arguments.
var readers = words(`cat tac nl less more most bat batcat head tail xxd od hexdump hd strings base64 base32 basenc grep egrep fgrep rg ag ack sed awk gawk
	mawk cut sort uniq paste fold fmt pr column jq yq diff cmp comm vim vi nano emacs view dd cp mv ln install rsync scp sftp tar zip gzip bzip2 xz zstd
	openssl gpg curl wget nc ncat http https xargs perl ruby iconv rev tr wc sha256sum md5sum split csplit look envsubst git`)

// quiet are programs that may be given a secret as an argument: they show nothing.
var quiet = words(`[ test : true unset`)

func words(list string) map[string]bool {
	set := map[string]bool{}
	for w := range strings.FieldsSeq(list) {
		set[w] = true
	}
	return set
}

// secretArgs judges a secret in a program's arguments: it is shown, sent, stored,
// or at least seen by everyone who lists processes.
func (j *judge) secretArgs(name string, args []string) {
	if quiet[name] {
		return
	}
	if slices.ContainsFunc(args, func(a string) bool { return strings.Contains(a, secret) }) {
		j.deny(Credentials, "%s is given a variable with a secret's name: let a program read it from its environment, and never print, store or send its value.", show(name))
	}
}

// showing are commands that print credentials.
var showing = newTable(`
	printenv
	git-credential fill
	gh auth token
	gh auth status --show-token
	gh auth status -t
	glab auth token
	npm token
	npm config get _auth*
	npm config get //*
	aws configure get
	aws configure export-credentials
	aws sts get-session-token
	aws sts assume-role
	aws ecr get-login-password
	aws secretsmanager get-secret-value
	gcloud auth print-access-token
	gcloud auth print-identity-token
	gcloud auth application-default print-access-token
	gcloud secrets versions access
	az account get-access-token
	az keyvault secret show
	heroku auth:token
	heroku config
	fly|flyctl auth token
	fly|flyctl tokens
	vercel env pull
	netlify env:get
	netlify env:list
	vault read
	vault kv get
	vault token
	op read
	op item get
	pass show
	bw get
	security find-generic-password
	security find-internet-password
	kubectl|oc config view --raw
	kubectl|oc get secret*
	oc whoami -t
	doppler secrets
	docker-credential-desktop get
	docker compose config
	docker inspect --env
	secret-tool lookup
	ssh-keygen -y
	gpg --export-secret-keys
`)

// shows judges whether a program shows a credential.
func (j *judge) shows(name string, args []string) {
	if line, sure := showing.match(name, args); line != "" && sure && (name != "printenv" || !plainNames(args[1:])) {
		j.deny(Credentials, "%s shows credentials: do without their values; the town adds them to the requests that need them.", show(line))
	}
	if name == "ps" && len(args) > 1 && !strings.HasPrefix(args[1], "-") && strings.Contains(args[1], "e") {
		j.deny(Credentials, "%s shows the environment of processes: leave the `e` out.", show("ps "+args[1]))
	}
	if !readers[name] || name == "git" && !gitReads(args) {
		return
	}
	paths := args[1:]
	switch name {
	case "cp", "mv", "ln", "install":
		if n := len(paths); n > 1 && !strings.HasPrefix(paths[n-1], "-") {
			paths = paths[:n-1]
		}
	case "grep", "egrep", "fgrep", "rg", "ag", "ack", "sed", "awk", "gawk", "mawk", "jq", "yq": // the first is no file
		if p := after(paths, "-e", "-A", "-B", "-C", "-m", "-g", "--glob", "-t"); len(p) > 1 && !contains(args, "-e") {
			paths = p[1:]
		} else if !contains(args, "-e") {
			paths = nil
		}
	}
	for _, p := range paths {
		if i := strings.LastIndexAny(p, "=@"); i >= 0 && !credentialFile(p) { // if=FILE, @FILE, name=@FILE
			p = p[i+1:]
		}
		if name == "git" {
			p = p[strings.LastIndexByte(p, ':')+1:]
		}
		j.read(p)
	}
}

// plainNames reports whether all are names of variables that are no secrets.
func plainNames(args []string) bool {
	return len(args) > 0 && !slices.ContainsFunc(args, func(a string) bool { return !known(a) || strings.HasPrefix(a, "-") || secretName(a) })
}
