package rules

import (
	"path"
	"strings"
	"time"
)

// serving are commands that do not end by themselves.
var serving = newTable(`
	vite dev
	vite serve
	vite preview
	vitest watch
	vitest dev
	vitest --ui
	next dev
	next start
	nuxt|nuxi dev
	nuxt|nuxi preview
	astro dev
	astro preview
	gatsby develop
	gatsby serve
	ng serve
	vue-cli-service serve
	react-scripts start
	expo start
	remix|react-router dev
	svelte-kit dev
	docusaurus start
	webpack serve
	webpack-dev-server
	storybook dev
	start-storybook
	http-server
	serve
	live-server
	browser-sync start
	json-server
	nodemon
	pm2 start
	forever start
	ts-node-dev
	tsx|bun watch
	tsc|webpack|rollup|babel|esbuild|sass|tailwindcss|@tailwindcss/cli -w
	kubectl get -w
	php -S
	artisan serve
	php artisan serve
	rails s
	rails server
	rails console
	puma
	unicorn
	rackup
	thin start
	foreman|overmind|hivemind start
	flask run
	uvicorn
	gunicorn
	hypercorn
	daphne
	waitress-serve
	fastapi dev
	fastapi run
	http.server
	manage.py runserver
	django-admin runserver
	jupyter notebook
	jupyter lab
	jupyter-lab
	jupyter-notebook
	streamlit run
	celery worker
	celery beat
	rq worker
	hugo server
	hugo serve
	jekyll serve
	mkdocs serve
	mdbook serve
	mdbook watch
	zola serve
	eleventy|@11ty/eleventy --serve
	cargo watch
	bacon
	trunk serve
	dx serve
	air
	gow
	wrangler dev
	wrangler tail
	wrangler pages dev
	netlify dev
	vercel dev
	firebase serve
	firebase emulators:start
	redis-server
	postgres
	mysqld
	mongod
	nginx
	httpd
	caddy run
	caddy file-server
	ngrok
	cloudflared tunnel
	localtunnel
	kubectl port-forward
	kubectl proxy
	kubectl logs -f
	docker|podman logs -f
	docker|podman logs --follow
	docker compose logs -f
	docker-compose logs -f
	journalctl -f
	journalctl --follow
	tail -f
	tail -F
	tail --follow
	tail --retry
	inotifywait -m
	fswatch
	entr
	watchexec
	reflex
	watchman-make
	watch
	top
	htop
	gh run watch
	gh codespace ssh
	dotnet watch
	mix phx.server
	iex
`)

// keeping are commands that leave something running behind them.
var keeping = newTable(`
	disown
	screen
	tmux new*
	tmux
	tmux start-server
	tmux send-keys
	zellij
	daemonize
	start-stop-daemon
	systemd-run
	systemctl start
	service + start
	at
	batch
	crontab
	pm2 start
`)

// serves judges whether a program runs on.
func (j *judge) serves(sc *scope, name string, args []string) {
	if line, _ := keeping.match(name, args); line != "" {
		j.deny(Server, "%s outlives the call: run what you need in the foreground, with `timeout` if it may take long.", show(line))
		return
	}
	if line, sure := serving.match(name, args); line != "" && sure {
		j.endless(sc, show(line))
		return
	}
	if script, ok := packageScript(name, args); ok {
		if first, last := scriptWords(script); serverWord(first) || last == "watch" || last == "serve" || last == "server" {
			j.endless(sc, show(name+" run "+script))
		}
	}
	j.servesOtherwise(sc, name, args)
}

func serverWord(w string) bool {
	switch w {
	case "dev", "start", "serve", "server", "watch", "preview", "develop", "storybook":
		return true
	}
	return false
}

func (j *judge) servesOtherwise(sc *scope, name string, args []string) {
	words := after(args[1:], "-c", "--config", "-p", "--port", "-f", "--file", "--project-name", "--env-file", "--profile", "--host", "--mode")
	switch {
	case name == "vite" || name == "parcel" || name == "wrangler":
		if !containsHarmless(args) && len(words) == 0 && name != "wrangler" || name == "parcel" && len(words) > 0 && words[0] != "build" {
			j.endless(sc, show(name))
		}
	case name == "docker" || name == "podman" || name == "docker-compose" || name == "podman-compose":
		if strings.HasSuffix(name, "-compose") {
			words = append([]string{"compose"}, words...)
		}
		detached := contains(args, "-d") || contains(args, "--detach") || contains(args, "--wait") || contains(args, "--no-start")
		if len(words) > 1 && words[0] == "compose" && words[1] == "up" && !detached {
			j.endless(sc, show("docker compose up"))
		}
	case strings.HasPrefix(name, "python") || name == "node" || name == "ruby" || name == "deno":
		for _, w := range words[:min(1, len(words))] { // a script that we know by its name
			if base := path.Base(w); serving[base] != nil {
				j.serves(sc, base, append([]string{base}, words[1:]...))
			}
		}
	case name == "sleep":
		var all time.Duration
		for _, w := range words {
			d, _ := duration(w)
			all = min(all+min(d, time.Hour), time.Hour)
		}
		if all > longest {
			j.endless(sc, "a sleep of more than five minutes")
		}
	}
	for _, a := range args[1:] {
		if a == "--watch" || a == "--watchAll" || a == "--watch-all" || a == "--watch=true" || a == "--watchAll=true" {
			j.endless(sc, show(name+" "+a))
		}
	}
}

// endless judges something that does not end: a timeout ends it, and in the
// background a kill may.
func (j *judge) endless(sc *scope, what string) {
	reason := what + " does not end by itself: run what ends (a build, a test), put `timeout 60` before it, or start it and `kill` it in one command."
	switch {
	case sc.bounded:
	case sc.behind:
		j.pending = append(j.pending, leftover{reason: reason, endless: true})
	default:
		j.deny(Server, "%s", reason)
	}
}
