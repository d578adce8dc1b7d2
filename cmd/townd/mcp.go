package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/spf13/cobra"

	"townd/coordinator/tools"
)

// toolServer is what the server of the town's tools calls itself.
const toolServer = "gastown"

func newMCPCommand(std stdio) *cobra.Command {
	return &cobra.Command{
		Use:    "mcp",
		Short:  "Offer the town's tools to an agent's CLI, as an MCP server on standard input and output",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := agentClient(std)
			if err != nil {
				return err
			}
			return serveTools(cmd.Context(), client, std)
		},
	}
}

// serveTools serves until its CLI closes the input. What the tools are and do, the
// town's server knows: this program only passes calls on.
func serveTools(ctx context.Context, client *tools.Client, std stdio) error {
	list, err := client.Tools(ctx)
	if err != nil {
		return fmt.Errorf("ask the town for its tools: %w", err)
	}
	server := mcp.NewServer(&mcp.Implementation{Name: toolServer, Version: version}, nil)
	for _, t := range list {
		server.AddTool(&mcp.Tool{Name: t.Name, Description: t.Description, InputSchema: t.InputSchema}, passOn(client))
	}
	return server.Run(ctx, &mcp.IOTransport{Reader: io.NopCloser(std.in), Writer: writeCloser{std.out}})
}

// writeCloser is standard output, which is not ours to close.
type writeCloser struct{ io.Writer }

func (writeCloser) Close() error { return nil }

// passOn has the town carry out a call. That it cannot be asked is told as a
// result, for the model to read.
func passOn(client *tools.Client) mcp.ToolHandler {
	return func(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		r, err := client.Tool(ctx, req.Params.Name, req.Params.Arguments, func() { tellWaiting(ctx, req) })
		if err != nil {
			return &mcp.CallToolResult{IsError: true, Content: []mcp.Content{&mcp.TextContent{Text: toolFailure(err)}}}, nil
		}
		result := &mcp.CallToolResult{IsError: r.IsError}
		for _, c := range r.Content {
			result.Content = append(result.Content, &mcp.TextContent{Text: c.Text})
		}
		return result, nil
	}
}

func toolFailure(err error) string {
	return fmt.Sprintf("The town could not be asked: %v. Go on with what does not need it, and call again in a minute.", err)
}

// tellWaiting tells a CLI that asked for it that its call goes on, so that it waits.
func tellWaiting(ctx context.Context, req *mcp.CallToolRequest) {
	if token := req.Params.GetProgressToken(); token != nil {
		_ = req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: token, Message: "waiting"}) // it waits, or has gone
	}
}

func newToolCommand(std stdio) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "tool [NAME [JSON]]",
		Short: "Call one of the town's tools, as an agent",
		Long: `Call one of the town's tools with arguments as a JSON object, as an agent does by its
CLI: for agents whose CLI takes no MCP servers, and for scripts. Without a name, the
tools that the agent has are listed. Works in the shell of an agent only.`,
		Example: `  townd tool
  townd tool gt_prime
  townd tool gt_done '{"summary": "the flaky test is fixed, all tests pass"}'`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := agentClient(std)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return listTools(cmd.Context(), client, std.out, asJSON)
			}
			arguments := "{}"
			if len(args) > 1 {
				arguments = args[1]
			}
			return callTool(cmd.Context(), client, std, args[0], arguments, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func listTools(ctx context.Context, client *tools.Client, out io.Writer, asJSON bool) error {
	list, err := client.Tools(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(out).Encode(list)
	}
	for _, t := range list {
		if _, err := fmt.Fprintf(out, "%s: %s\n", t.Name, t.Description); err != nil {
			return err
		}
	}
	return nil
}

func callTool(ctx context.Context, client *tools.Client, std stdio, name, arguments string, asJSON bool) error {
	if !json.Valid([]byte(arguments)) {
		return &exitError{code: exitUsage, err: fmt.Errorf("the arguments of %s must be a JSON object", name)}
	}
	r, err := client.Tool(ctx, name, json.RawMessage(arguments), nil)
	if err != nil {
		return err
	}
	if asJSON {
		err = json.NewEncoder(std.out).Encode(r)
	} else {
		_, err = fmt.Fprintln(std.out, r.Text())
	}
	if err == nil && r.IsError {
		return &exitError{code: exitFailure}
	}
	return err
}
