package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// clientFlags say where the platform is and who asks.
type clientFlags struct {
	server, key, output string
	tls                 bool
}

// call is one client command: it is given a connection and prints what it got.
type call func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error

func (f *clientFlags) add(c *cobra.Command) {
	env := func(name, fallback string) string {
		if v := os.Getenv(name); v != "" {
			return v
		}
		return fallback
	}
	flags := c.PersistentFlags()
	flags.StringVar(&f.server, "server", env("RISKPROFILER_SERVER", "127.0.0.1:8080"), "address of the platform (RISKPROFILER_SERVER)")
	flags.StringVar(&f.key, "key", "", "API key (better: the environment variable RISKPROFILER_API_KEY)")
	flags.StringVar(&f.output, "output", "table", "table or json")
	flags.BoolVar(&f.tls, "tls", false, "use TLS")
	_ = c.RegisterFlagCompletionFunc("output", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp
	})
}

// run connects, calls and turns errors into one line.
func (f *clientFlags) run(c *cobra.Command, args []string, do call) error {
	if f.output != "table" && f.output != "json" {
		return usage(fmt.Errorf("--output %q is not known; use table or json", f.output))
	}
	key := f.key
	if key == "" {
		key = os.Getenv("RISKPROFILER_API_KEY")
	}
	if key == "" {
		return usage(errors.New("no API key; set RISKPROFILER_API_KEY to the key that `riskprofiler up` printed at its first start"))
	}
	transport := insecure.NewCredentials()
	if f.tls {
		transport = credentials.NewClientTLSFromCert(nil, "")
	}
	conn, err := grpc.NewClient(f.server, grpc.WithTransportCredentials(transport), grpc.WithUserAgent("riskprofiler/"+version))
	if err != nil {
		return usage(err)
	}
	defer func() { _ = conn.Close() }()
	ctx := metadata.AppendToOutgoingContext(c.Context(), "authorization", "Bearer "+key)
	err = do(ctx, conn, args, printer{w: c.OutOrStdout(), json: f.output == "json"})
	if err == nil {
		return nil
	}
	var exit *exitError
	if errors.As(err, &exit) {
		return err
	}
	if cause, ok := unreachable(err); ok {
		return usage(fmt.Errorf("cannot reach the platform at %s: %s; start it with `riskprofiler up`, or say where it is with --server", f.server, cause))
	}
	return usage(fmt.Errorf("%w (server %s)", plain(err), f.server))
}

// unreachable says why no connection could be made, if that is what the error is about: gRPC words it as
// `connection error: desc = "transport: ..."`.
func unreachable(err error) (string, bool) {
	if status.Code(err) != codes.Unavailable {
		return "", false
	}
	quoted, ok := strings.CutPrefix(status.Convert(err).Message(), "connection error: desc = ")
	if !ok {
		return "", false
	}
	text, unquoteErr := strconv.Unquote(quoted)
	if unquoteErr != nil {
		text = quoted
	}
	return strings.TrimPrefix(strings.TrimPrefix(text, "transport: "), "Error while dialing: "), true
}

// printer prints messages as a table or as JSON lines.
type printer struct {
	w    io.Writer
	json bool
}

// message prints one message: as JSON, or by its fields one a line.
func (p printer) message(m proto.Message) error {
	if p.json {
		return p.line(m)
	}
	raw, err := protojson.MarshalOptions{Multiline: true, UseProtoNames: true}.Marshal(m)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.w, string(raw))
	return err
}

func (p printer) line(m proto.Message) error {
	raw, err := protojson.Marshal(m)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.w, string(raw))
	return err
}

// column is one column of a table.
type column[M proto.Message] struct {
	title string
	cell  func(M) string
}

// list prints messages: as JSON one a line, or as a table.
func list[M proto.Message](p printer, messages []M, columns ...column[M]) error {
	if p.json {
		for _, m := range messages {
			if err := p.line(m); err != nil {
				return err
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(p.w, 0, 4, 2, ' ', 0)
	titles := make([]string, len(columns))
	for i, c := range columns {
		titles[i] = strings.ToUpper(c.title)
	}
	_, _ = fmt.Fprintln(t, strings.Join(titles, "\t"))
	for _, m := range messages {
		cells := make([]string, len(columns))
		for i, c := range columns {
			cells[i] = cut(oneLine(c.cell(m)), 60)
		}
		_, _ = fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
}

func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

func when(t *timestamppb.Timestamp) string {
	if t == nil {
		return "-"
	}
	return t.AsTime().Local().Format(time.DateTime)
}

// enum is an enum's value in lower case without its prefix.
func enum(value fmt.Stringer, prefix string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(value.String(), prefix)), "_", "-")
}

// named makes a resource name of an id or a name.
func named(collection, text string) string {
	if strings.HasPrefix(text, collection+"/") {
		return text
	}
	return collection + "/" + text
}

// all reads every page of a list.
func all[M any](next func(token string) ([]M, string, error)) ([]M, error) {
	var out []M
	for token := ""; ; {
		page, following, err := next(token)
		if err != nil {
			return nil, err
		}
		out = append(out, page...)
		if token = following; token == "" {
			return out, nil
		}
	}
}
