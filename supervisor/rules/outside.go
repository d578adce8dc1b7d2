package rules

import (
	"slices"
	"strings"
)

// writers are programs whose every argument is written or removed.
var writers = words(`rm rmdir mkdir touch truncate shred unlink tee mkfifo mknod chattr mv`)

// writes judges the paths that a program writes, as its arguments tell them. What
// it writes besides is the kernel's matter.
func (j *judge) writes(sc *scope, name string, args []string) {
	rest := args[1:]
	all := func(paths ...string) {
		for _, p := range paths {
			j.write(sc, p)
		}
	}
	target := func(names ...string) bool {
		v, ok := valueOf(rest, names...)
		if ok {
			all(v)
		}
		return ok
	}
	switch name {
	case "git":
		j.git(sc, args)
	case "chmod", "chown", "chgrp":
		p := after(rest, "--reference", "--from")
		all(p[min(1, len(p)):]...)
	case "cp", "ln", "install", "rsync", "scp":
		if p := after(rest, "-t", "--target-directory", "-m", "-o", "-g", "-S", "-e", "--exclude", "--include", "-i", "-P", "-F"); !target("-t", "--target-directory") && len(p) > 0 {
			if last := p[len(p)-1]; len(p) > 1 && !remote(last) {
				all(last)
			}
		}
	case "dd":
		for _, a := range rest {
			if of, ok := strings.CutPrefix(a, "of="); ok {
				all(of)
			}
		}
	case "sed":
		j.sed(sc, rest)
	case "perl", "ruby":
		if slices.ContainsFunc(rest, func(a string) bool {
			return strings.HasPrefix(a, "-i") || strings.HasPrefix(a, "-pi") || strings.HasPrefix(a, "-ni")
		}) {
			all(after(rest, "-e", "-pe", "-ne", "-pie")...)
		}
	case "sort", "curl", "wget", "go", "gcc", "cc", "clang", "rustc", "pandoc", "jq":
		if name != "wget" {
			target("-o", "--output")
		} else {
			target("-O", "--output-document", "-P", "--directory-prefix")
		}
		if name == "curl" {
			target("--output-dir")
		}
	case "tar", "unzip":
		target("-C", "--directory", "-d")
		if file, ok := valueOf(rest, "-cf", "-czf", "-cjf", "-cJf", "czf", "cf", "cjf", "cJf", "-zcf", "zcf"); ok {
			all(file)
		}
	case "find":
		j.find(sc, rest)
	case "apt", "apt-get", "yum", "dnf", "apk", "brew", "pacman", "snap":
		if slices.ContainsFunc(rest, func(a string) bool {
			return slices.Contains([]string{"install", "add", "remove", "upgrade", "-S", "-Sy"}, a)
		}) {
			j.deny(Outside, "%s changes the whole machine: install what you need below your worktree, or ask for it.", show(name))
		}
	case "npm", "pnpm", "yarn":
		if contains(rest, "-g") || contains(rest, "--global") || len(rest) > 0 && rest[0] == "global" {
			j.deny(Outside, "a global install changes the whole machine: install it in the project.")
		}
	default:
		if writers[name] {
			all(after(rest, "-t", "-m", "-s", "-r", "-d", "--size", "--reference", "--mode", "-n")...)
			target("-t", "--target-directory")
		}
	}
}

// remote reports whether a path of scp or rsync is another machine's.
func remote(p string) bool {
	host, _, ok := strings.Cut(p, ":")
	return ok && !strings.Contains(host, "/")
}

// sed judges the files that sed -i edits.
func (j *judge) sed(sc *scope, args []string) {
	inPlace, scripts := false, 0
	for _, a := range args {
		switch {
		case a == "--in-place" || strings.HasPrefix(a, "--in-place="):
			inPlace = true
		case a == "-e" || a == "-f" || strings.HasPrefix(a, "--expression") || strings.HasPrefix(a, "--file"):
			scripts++
		case strings.HasPrefix(a, "-") && !strings.HasPrefix(a, "--"):
			flags := a[1:]
			if before0, _, ok := strings.Cut(flags, "i"); ok {
				inPlace, flags = true, before0
			}
			if strings.HasSuffix(flags, "e") || strings.HasSuffix(flags, "f") {
				scripts++
			}
		}
	}
	if !inPlace {
		return
	}
	files := after(args, "-e", "-f", "-ne", "-Ee", "-re", "--expression", "--file")
	if scripts == 0 {
		files = files[min(1, len(files)):]
	}
	for _, p := range files {
		j.write(sc, p)
	}
}

// find judges what find deletes and what it runs for each file.
func (j *judge) find(sc *scope, args []string) {
	n := slices.IndexFunc(args, func(a string) bool {
		return strings.HasPrefix(a, "-") && !slices.Contains([]string{"-L", "-P", "-H"}, a) || a == "(" || a == "!"
	})
	if n < 0 {
		n = len(args)
	}
	paths := after(args[:n])
	if len(paths) == 0 {
		paths = []string{"."}
	}
	for i := n; i < len(args); i++ {
		switch args[i] {
		case "-delete":
			for _, p := range paths {
				j.write(sc, p)
			}
		case "-fprint", "-fprintf", "-fls", "-fprint0":
			j.write(sc, args[min(i+1, len(args)-1)])
		case "-exec", "-execdir", "-ok", "-okdir":
			end := i + 1
			for end < len(args) && args[end] != ";" && (args[end] != "+" || args[end-1] != "{}") {
				end++
			}
			for _, p := range paths {
				each := make([]string, 0, end-i)
				for _, a := range args[i+1 : end] {
					each = append(each, strings.ReplaceAll(a, "{}", strings.TrimSuffix(p, "/")+"/"+unknown))
				}
				if j.over() {
					return
				}
				j.run(sc, each)
			}
			i = end
		}
	}
}
