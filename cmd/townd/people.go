package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"townd/api"
	"townd/town"
)

// What agents and people say to each other: mail, escalations and questions.

func newMailCommand(std stdio) *cobra.Command {
	return group("mail", "Mail between agents and people", newMailLsCommand(std), newMailSendCommand(std), newMailAckCommand(std))
}

func newMailLsCommand(std stdio) *cobra.Command {
	var to string
	var all bool
	cmd := &cobra.Command{Use: "ls", Aliases: []string{"list"}, Short: "List mail that nobody has acknowledged, oldest first", Args: cobra.NoArgs}
	cmd.Flags().StringVar(&to, "to", "", "to this agent, or person for what is yours")
	cmd.Flags().BoolVar(&all, "all", false, "what is acknowledged too")
	return hallCommand(std, cmd, func(ctx context.Context, h hall, _ []string) (api.MailList, error) {
		mail, err := h.Mail(ctx, to, all)
		return api.MailList{Mail: mail}, err
	}, func(w io.Writer, list api.MailList) error {
		rows := [][]string{{"MAIL", "FROM", "TO", "AGE", "SUBJECT", "BODY"}}
		for _, m := range list.Mail {
			rows = append(rows, []string{shortID(m.ID), m.From, m.To, age(m.CreatedAt), clip(m.Subject, 50), clip(m.Body, 80)})
		}
		return printTable(w, rows)
	})
}

func newMailSendCommand(std stdio) *cobra.Command {
	var req town.MailRequest
	var file string
	cmd := &cobra.Command{
		Use: "send AGENT SUBJECT…", Short: "Send mail to an agent, or to mayor", Args: atLeast("an agent's id, or mayor", "a subject"),
		ValidArgsFunction: completeAgents(std, anyAgent),
	}
	cmd.Flags().StringVar(&req.Body, "body", "", "the text")
	cmd.Flags().StringVar(&file, "body-file", "", "read the text from a file, - for standard input")
	return hallCommand(std, cmd, func(ctx context.Context, h hall, args []string) (_ town.Mail, err error) {
		if req.Body, err = readText(std, req.Body, file); err != nil {
			return town.Mail{}, err
		}
		req.To, req.Subject = args[0], join(args[1:])
		return h.SendMail(ctx, req)
	}, func(w io.Writer, m town.Mail) error {
		_, err := fmt.Fprintln(w, shortID(m.ID))
		return err
	})
}

func newMailAckCommand(std stdio) *cobra.Command {
	cmd := &cobra.Command{Use: "ack MAIL", Short: "Acknowledge mail for who it is to", Args: exactly("mail (townd mail ls)")}
	return hallCommand(std, cmd, func(ctx context.Context, h hall, args []string) (town.Mail, error) {
		all, err := h.Mail(ctx, "", true)
		if err != nil {
			return town.Mail{}, err
		}
		m, err := byEnd(all, func(m town.Mail) string { return m.ID }, "mails", args[0])
		if err != nil {
			return town.Mail{}, err
		}
		_, err = h.AckMail(ctx, m.To, m.ID)
		return m, err
	}, func(w io.Writer, m town.Mail) error {
		_, err := fmt.Fprintln(w, shortID(m.ID), "acknowledged")
		return err
	})
}

func newEscalationsCommand(std stdio) *cobra.Command {
	var all bool
	cmd := &cobra.Command{Use: "escalations", Aliases: []string{"esc"}, Short: "What needs someone's judgement", Args: cobra.NoArgs}
	cmd.Flags().BoolVar(&all, "all", false, "closed ones too")
	hallCommand(std, cmd, func(ctx context.Context, h hall, _ []string) (api.EscalationList, error) {
		list, err := h.Escalations(ctx, "")
		kept := list[:0]
		for _, e := range list {
			if all || e.Status != "closed" {
				kept = append(kept, e)
			}
		}
		return api.EscalationList{Escalations: kept}, err
	}, func(w io.Writer, list api.EscalationList) error {
		return printTable(w, escalationRows(list.Escalations))
	})
	for _, c := range []*cobra.Command{
		changeEscalation(std, "ack ESCALATION [ANSWER…]", "Say that someone looks at it; the answer goes to its agent",
			func(ctx context.Context, h hall, id, answer string) (town.Escalation, error) {
				return h.AcknowledgeEscalation(ctx, id, answer)
			}),
		changeEscalation(std, "close ESCALATION [ANSWER…]", "End it; the answer goes to its agent",
			func(ctx context.Context, h hall, id, answer string) (town.Escalation, error) {
				return h.CloseEscalation(ctx, id, answer)
			}),
	} {
		wrapArgs(c)
		cmd.AddCommand(c)
	}
	return cmd
}

func escalationRows(all []town.Escalation) [][]string {
	rows := [][]string{{"ESCALATION", "SEVERITY", "STATUS", "BEAD", "AGENT", "TIMES", "AGE", "RAISED", "TITLE", "TEXT"}}
	for _, e := range all {
		raised := ""
		if e.RaisedAt != nil {
			raised = fmt.Sprintf("%d times, last %s ago", e.Raises, age(*e.RaisedAt))
		}
		rows = append(rows, []string{
			shortID(e.ID), string(e.Severity), e.Status, dash(shortID(e.BeadID)), dash(e.AgentID), fmt.Sprint(e.Count), age(e.CreatedAt), dash(raised),
			clip(e.Title, 60), clip(e.Body, 80),
		})
	}
	return rows
}

func changeEscalation(std stdio, use, short string, change func(ctx context.Context, h hall, id, answer string) (town.Escalation, error)) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: atLeast("an escalation (townd escalations)")}
	return hallCommand(std, cmd, func(ctx context.Context, h hall, args []string) (town.Escalation, error) {
		all, err := h.Escalations(ctx, "")
		if err != nil {
			return town.Escalation{}, err
		}
		e, err := byEnd(all, func(e town.Escalation) string { return e.ID }, "escalations", args[0])
		if err != nil {
			return town.Escalation{}, err
		}
		return change(ctx, h, e.ID, join(args[1:]))
	}, func(w io.Writer, e town.Escalation) error {
		_, err := fmt.Fprintln(w, shortID(e.ID), e.Status)
		return err
	})
}

func newAskCommand(std stdio) *cobra.Command {
	return group("ask", "What agents ask people", newAskLsCommand(std), newAskAnswerCommand(std))
}

func newAskLsCommand(std stdio) *cobra.Command {
	var all bool
	cmd := &cobra.Command{Use: "ls", Aliases: []string{"list"}, Short: "List the questions that wait for an answer", Args: cobra.NoArgs}
	cmd.Flags().BoolVar(&all, "all", false, "answered and cancelled ones too")
	return hallCommand(std, cmd, func(ctx context.Context, h hall, _ []string) (api.QuestionList, error) {
		list, err := h.Questions(ctx, "")
		kept := list[:0]
		for _, q := range list {
			if all || q.Status == "open" || q.Status == "expired" {
				kept = append(kept, q)
			}
		}
		return api.QuestionList{Questions: kept}, err
	}, func(w io.Writer, list api.QuestionList) error { return printTable(w, questionRows(list.Questions)) })
}

func questionRows(all []town.Question) [][]string {
	rows := [][]string{{"QUESTION", "STATUS", "AGENT", "AGE", "ASKS", "OPTIONS", "ANSWER"}}
	for _, q := range all {
		rows = append(rows, []string{
			shortID(q.ID), q.Status, q.AgentID, age(q.CreatedAt), clip(q.Question, 80), strings.Join(q.Options, " | "), dash(q.Answer),
		})
	}
	return rows
}

func newAskAnswerCommand(std stdio) *cobra.Command {
	var cancel bool
	cmd := &cobra.Command{
		Use: "answer QUESTION ANSWER…", Short: "Answer a question: one of its options, or something else", Args: atLeast("a question (townd ask ls)"),
		Example: "  townd ask answer 6f2c1a90 use the second one",
	}
	cmd.Flags().BoolVar(&cancel, "cancel", false, "take it back instead")
	return hallCommand(std, cmd, func(ctx context.Context, h hall, args []string) (town.Question, error) {
		all, err := h.Questions(ctx, "")
		if err != nil {
			return town.Question{}, err
		}
		q, err := byEnd(all, func(q town.Question) string { return q.ID }, "questions", args[0])
		switch {
		case err != nil:
			return town.Question{}, err
		case cancel:
			return h.CancelQuestion(ctx, q.ID)
		}
		return h.AnswerQuestion(ctx, q.ID, join(args[1:]))
	}, func(w io.Writer, q town.Question) error {
		_, err := fmt.Fprintln(w, shortID(q.ID), q.Status)
		return err
	})
}
