package supervisor

import (
	"context"
	"time"

	"townd/supervisor/typing"
)

// TypeMessage is typeMessage for an agent that runs.
func TypeMessage(ctx context.Context, s *Supervisor, agent, id, text string, opt typing.Options) error {
	a, err := s.find(agent)
	if err != nil {
		return err
	}
	return s.typeMessage(ctx, a.feed.Load(), &person{}, message{ID: id, Text: text}, opt)
}

// TypeAfterPerson is TypeMessage right after a person typed keys.
func TypeAfterPerson(ctx context.Context, s *Supervisor, agent, id, text, keys string) (time.Duration, error) {
	a, err := s.find(agent)
	if err != nil {
		return 0, err
	}
	who, now := &person{}, time.Now()
	who.note([]byte(keys), now)
	err = s.typeMessage(ctx, a.feed.Load(), who, message{ID: id, Text: text}, typing.Options{})
	return time.Since(now), err
}
