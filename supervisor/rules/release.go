package rules

import (
	"slices"
	"strings"
)

// releasing are commands that publish, deploy or change what others see.
var releasing = newTable(`
	npm|pnpm|yarn|bun publish
	npm|pnpm unpublish
	npm|pnpm deprecate
	npm|pnpm dist-tag
	npm|pnpm owner
	npm|pnpm access
	yarn npm publish
	lerna publish
	changeset|@changesets/cli publish
	semantic-release
	release-it
	np
	nx release
	auto shipit
	vsce|ovsx|@vscode/vsce publish
	vercel|now deploy
	vercel --prod
	vercel promote
	vercel rollback
	netlify|ntl deploy
	fly|flyctl deploy
	fly|flyctl launch
	fly|flyctl secrets set
	wrangler deploy
	wrangler publish
	wrangler rollback
	wrangler delete
	wrangler pages deploy
	wrangler pages publish
	wrangler versions deploy
	wrangler versions upload
	wrangler secret put
	railway up
	railway deploy
	heroku container:release
	heroku container:push
	firebase deploy
	gcloud app deploy
	gcloud run deploy
	gcloud functions deploy
	gcloud builds submit
	aws cloudformation deploy
	aws cloudformation create-stack
	aws cloudformation update-stack
	aws lambda update-function-code
	aws ecs update-service
	aws s3 sync
	aws s3 cp
	aws s3 mv
	aws s3 rm
	az webapp up
	az webapp deploy
	sam deploy
	cdk deploy
	cdk destroy
	serverless|sls deploy
	eb deploy
	amplify publish
	copilot deploy
	sst deploy
	surge
	gh-pages
	cargo publish
	cargo yank
	cargo owner
	cargo release
	twine upload
	poetry|uv|flit|pdm|hatch publish
	gem push
	gem yank
	rake|just|task|make|gmake|invoke|nox|mage deploy*
	rake|just|task|make|gmake|invoke|mage release*
	rake|just|task|make|gmake|invoke|mage publish*
	mix hex.publish
	dart|flutter pub publish
	dotnet nuget push
	nuget push
	pod trunk push
	anaconda upload
	mvn|mvnw deploy
	mvn|mvnw release:*
	gradle|gradlew publish*
	sbt publish*
	goreleaser release
	docker|podman|buildah|nerdctl push
	docker|podman image push
	docker|podman manifest push
	docker compose push
	docker-compose push
	docker|podman build --push
	docker buildx build --push
	docker buildx bake --push
	skopeo copy
	crane push
	ko apply
	ko publish
	helm push
	helm install
	helm upgrade
	helm uninstall
	helm rollback
	kubectl|oc apply
	kubectl|oc create
	kubectl|oc delete
	kubectl|oc replace
	kubectl|oc patch
	kubectl|oc edit
	kubectl|oc set
	kubectl|oc scale
	kubectl|oc rollout restart
	kubectl|oc rollout undo
	kubectl|oc run
	terraform|tofu|terragrunt apply
	terraform|tofu|terragrunt destroy
	terraform|tofu|terragrunt import
	pulumi up
	pulumi destroy
	ansible-playbook
	fastlane
	eas submit
	eas update
	gh pr create
	gh pr merge
	gh pr close
	gh pr reopen
	gh pr ready
	gh pr edit
	gh pr review
	gh release create
	gh release upload
	gh release delete
	gh release edit
	gh workflow run
	gh repo create
	gh repo delete
	gh repo edit
	gh repo rename
	gh secret set
	glab mr create
	glab mr merge
	glab release create
	hub pull-request
	hub release create
	tea pr create
	jf rt upload
`)

// releases judges whether a program releases something.
func (j *judge) releases(name string, args []string) {
	if name == "git" {
		return // see git.go
	}
	line, sure := releasing.match(name, args)
	switch {
	case line != "" && !sure:
		j.unclear(strings.Join(args, " "), "it may be "+show(line)+", which is not yours to do; write its words out")
	case line != "":
		j.released(line)
	}
	if script, ok := packageScript(name, args); ok {
		switch first, last := scriptWords(script); {
		case !known(script):
			j.unclear(strings.Join(args, " "), "which script it runs is not known until it runs; write its name out")
		case first == "deploy" || first == "release" || first == "publish" || last == "deploy" || last == "publish":
			j.released(name + " run " + script)
		}
	}
	j.releasesOtherwise(name, args)
}

func (j *judge) releasesOtherwise(name string, args []string) {
	words := after(args[1:], "--cwd", "-A", "--scope", "-S")
	switch name {
	case "vercel", "now": // alone, or with a directory, it deploys
		if containsHarmless(args) {
			return
		}
		if len(words) == 0 || strings.ContainsAny(words[0], "./") {
			j.released(name)
		}
	case "gh":
		if len(words) > 0 && words[0] == "api" {
			j.ghAPI(args)
		}
	case "goreleaser":
		if len(words) == 0 && !contains(args, "--snapshot") && !containsHarmless(args) {
			j.released(name)
		}
	case "python", "python3":
		if len(words) > 1 && words[0] == "setup.py" && contains(words, "upload") {
			j.released("setup.py upload")
		}
	}
}

// ghAPI judges a raw call of GitHub's API: what is not a GET changes something.
func (j *judge) ghAPI(args []string) {
	method, given := valueOf(args, "-X", "--method")
	_, body := valueOf(args, "-f", "-F", "--field", "--raw-field", "--input")
	if given && !strings.EqualFold(method, "GET") || !given && body && !contains(args, "graphql") {
		j.released("gh api")
	}
}

func (j *judge) released(what string) {
	j.deny(Release, "%s is not yours to do: the town releases, deploys and opens pull requests; push your branch and report done.", show(what))
}

func contains(args []string, a string) bool { return slices.Contains(args, a) }

func containsHarmless(args []string) bool { return slices.ContainsFunc(args, harmless) }

// packageScript returns which script of a package.json a package manager runs.
func packageScript(name string, args []string) (string, bool) {
	if name != "npm" && name != "pnpm" && name != "yarn" && name != "bun" {
		return "", false
	}
	words := after(args[1:], "--prefix", "-w", "--workspace", "-C", "--dir", "--filter", "-F", "--cwd")
	if len(words) > 0 && name == "yarn" && words[0] == "workspace" {
		words = words[min(2, len(words)):]
	}
	if len(words) == 0 {
		return "", false
	}
	switch first := words[0]; first {
	case "run", "run-script", "rum", "urn":
		if len(words) > 1 {
			return words[1], true
		}
		return "", false
	case "start", "stop", "restart", "test", "t":
		return first, true
	case "add", "audit", "build", "cache", "ci", "config", "create", "exec", "i", "info", "init", "install", "link", "list", "ls", "outdated", "pack",
		"publish", "remove", "rm", "uninstall", "update", "up", "upgrade", "version", "view", "why", "x", "dlx", "help", "npm":
		return "", false
	default:
		if name == "npm" {
			return "", !known(first)
		}
		return first, true
	}
}

// scriptWords returns the first and the last word of a script's name, as "test"
// and "watch" of test:watch.
func scriptWords(script string) (first, last string) {
	words := strings.FieldsFunc(script, func(r rune) bool { return strings.ContainsRune(":-_./", r) })
	if len(words) == 0 {
		return "", ""
	}
	if len(words) == 1 {
		return words[0], ""
	}
	return words[0], words[len(words)-1]
}
