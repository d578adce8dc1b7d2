package supervisor

import (
	"context"
	"errors"
	"testing"

	"townd/gitmgr"
)

func TestUserOfAReadyWorktreeIsChosenFirst(t *testing.T) {
	u := newUsers(100, 6, true)
	mine, other := u.reserve("mine", 2), u.reserve("other", 2)
	if len(mine) != 2 || len(other) != 2 {
		t.Fatalf("reserved %v and %v", mine, other)
	}
	ready := func(uids ...uint32) (all []gitmgr.Owner) {
		for _, uid := range uids {
			all = append(all, gitmgr.Owner{UID: uid})
		}
		return all
	}
	_, release, ok := u.hold(t.Context(), other[0], "other")
	if !ok {
		t.Fatal("a user of the pool is not to be had")
	}
	defer release()
	for _, c := range []struct {
		what  string
		ready []gitmgr.Owner
		want  uint32
		left  string
	}{
		{"ready", ready(mine[1]), mine[1], "mine"},
		{"free", nil, 104, ""},
		{"free too, for who is ready is an agent's", ready(mine[1]), 105, ""},
		{"of its own pool but not ready", nil, mine[0], "mine"},
		{"of another pool", nil, other[1], "other"},
	} {
		uid, err := u.of(c.what, c.ready)
		if err != nil || uid != c.want || u.left[uid] != c.left {
			t.Errorf("%s: user %d, left in %q, %v; want %d, %q", c.what, uid, u.left[uid], err, c.want, c.left)
		}
		if again, _ := u.of(c.what, nil); again != uid {
			t.Errorf("%s: user %d, then %d", c.what, uid, again)
		}
	}
	if more := u.reserve("mine", 2); len(more) != 0 {
		t.Errorf("reserved %v of agents' users", more)
	}
}

// An agent waits until nobody works as its user.
func TestUserThatIsBusyIsLetGo(t *testing.T) {
	u := newUsers(100, 2, true)
	pool := u.reserve("rig", 2)
	if len(pool) != 1 {
		t.Fatalf("reserved %v, want one: the last free user is an agent's", pool)
	}
	ctx, release, ok := u.hold(t.Context(), pool[0], "rig")
	if !ok {
		t.Fatal("not held")
	}
	if _, err := u.of("a", nil); err != nil {
		t.Fatal(err)
	}
	uid, err := u.of("b", nil)
	if err != nil || uid != pool[0] {
		t.Fatalf("user %d, %v", uid, err)
	}
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := u.leave(impatient, uid); err == nil {
		t.Error("the agent did not wait")
	}
	if context.Cause(ctx) == nil || !errors.Is(context.Cause(ctx), errTaken) {
		t.Errorf("who works as its user was told %v", context.Cause(ctx))
	}
	release()
	if rig, err := u.leave(t.Context(), uid); rig != "rig" || err != nil {
		t.Errorf("leave() = %q, %v", rig, err)
	}
	u.hasLeft(uid)
	if rig, _ := u.leave(t.Context(), uid); rig != "" {
		t.Errorf("leave() = %q", rig)
	}
	if _, _, ok := u.hold(t.Context(), uid, "rig"); ok {
		t.Error("the user of an agent is made ready")
	}
	if _, err := u.of("c", nil); err == nil {
		t.Error("there are more users than there are")
	}
	u.release("b")
	if pool := u.reserve("rig", 2); len(pool) != 0 {
		t.Errorf("reserved %v, the last free user", pool)
	}
}
