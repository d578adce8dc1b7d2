package supervisor

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"townd/supervisor/agentcli"
	"townd/town"
)

// Models is the way to models that agents have through the town.
type Models interface {
	// Endpoint returns where a CLI that speaks these dialects, the best first, finds
	// a model: a name, a tier, or "" for the town's own choice. ok is false when the
	// town has no credential for any.
	Endpoint(dialects []town.Dialect, model string) (e town.ModelEndpoint, ok bool)
}

// capabilityKey is what a capability is looked up by: its hash, so that how long a
// look-up takes tells nothing of it.
type capabilityKey [sha256.Size]byte

func keyOf(capability string) capabilityKey { return sha256.Sum256([]byte(capability)) }

// know makes capability that of a.
func (s *Supervisor) know(capability string, a *agent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.capabilities[keyOf(capability)] = a
}

func (s *Supervisor) forgetCapability(capability string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.capabilities, keyOf(capability))
}

// holder returns the live agent that has this capability, else ErrUnauthorized.
func (s *Supervisor) holder(capability string) (*agent, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.capabilities[keyOf(capability)]
	if a == nil {
		return nil, fmt.Errorf("this is no capability of a live agent: %w", town.ErrUnauthorized)
	}
	return a, nil
}

// AdmitModelCall returns the agent whose capability it is, ErrUnauthorized for
// none of a live agent, ErrBudget when a budget of that agent is used up. Calls
// that are under way are not counted yet.
func (s *Supervisor) AdmitModelCall(capability string) (town.Agent, error) {
	a, err := s.holder(capability)
	if err != nil {
		return town.Agent{}, err
	}
	view, limits := a.view(), a.request.Load().Limits
	now := time.Now()
	// Turns and time are looked at by the agent itself.
	for _, spent := range spending(town.Limits{Tokens: limits.Tokens, CostUSD: limits.CostUSD}, 0, a.published(), now, now, now) {
		if spent.usedUp() {
			return view, fmt.Errorf("agent %s: %v: %w", a.id, spent, town.ErrBudget)
		}
	}
	return view, nil
}

// published is usage for others than live: what was published, with what the
// gateway counted since.
func (a *agent) published() town.Usage { return larger(a.snapshot.Load().Usage, a.metered.get()) }

// ModelCalled takes in a request that an agent made of a model through the gateway.
func (s *Supervisor) ModelCalled(agentID string, call town.ModelCall) {
	a, err := s.find(agentID)
	if err != nil {
		return // forgotten meanwhile
	}
	a.metered.add(call.Usage)
	a.post(func() {
		a.rec.Metered = a.metered.get()
		a.tellUsage()
		a.rec.ModelFault = call.Kind
		if a.rec.ModelFailures++; call.Kind == "" {
			a.rec.ModelFailures = 0
		}
		if call.Kind != "" && !a.structured.Load() {
			a.emit(town.EventRetry, town.RetryData{Kind: call.Kind, Attempt: a.rec.ModelFailures, DelaySeconds: call.Delay.Seconds()})
		}
		a.publish()
		a.checkLimits()
	})
}

// models returns the gateway's place for the agent's model, nil when its CLI
// cannot use it or the caller's own variables name another.
func (s *Supervisor) models(cli agentcli.CLI, env map[string]string, model, capability string) *agentcli.Models {
	if s.cfg.Models == nil || len(cli.Dialects()) == 0 || cli.Credentialed(env) {
		return nil
	}
	endpoint, ok := s.cfg.Models.Endpoint(cli.Dialects(), model)
	if !ok {
		return nil
	}
	return &agentcli.Models{ModelEndpoint: endpoint, Key: capability}
}

// SetModel has the agent use another model from its next turn on. It returns
// ErrConflict for an agent that has ended or is a mere terminal.
func (s *Supervisor) SetModel(ctx context.Context, id, model string) error {
	if err := town.CheckModel(model); err != nil {
		return err
	}
	return s.retune(ctx, id, func(a *agent) { a.rec.Agent.Model = model })
}

// SetSystemPrompt gives the agent another system prompt from its next turn on;
// errors as of SetModel.
func (s *Supervisor) SetSystemPrompt(ctx context.Context, id, text string) error {
	if err := town.CheckSystemPrompt(text); err != nil {
		return err
	}
	return s.retune(ctx, id, func(a *agent) { a.rec.System = text })
}

// retune changes what a process is started with; the next turn gets one of its
// own, which goes on with the session.
func (s *Supervisor) retune(ctx context.Context, id string, change func(*agent)) error {
	a, err := s.find(id)
	if err != nil {
		return err
	}
	_, err = ask(ctx, a, func(reply func(struct{}, error)) {
		switch status := a.rec.Agent.Status; {
		case status != town.StatusRunning && status != town.StatusStarting:
			err = fmt.Errorf("agent %s is %s: %w", a.id, status, town.ErrConflict)
		case !a.structured.Load():
			err = fmt.Errorf("agent %s is a terminal program, which the town cannot tell its model or system prompt: %w", a.id, town.ErrConflict)
		default:
			change(a)
			a.rec.Retune = true
			a.publish()
		}
		reply(struct{}{}, err)
	})
	return err
}
