package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	accessv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/access/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	scannerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scanner/v1"
	"github.com/riskprofiler/riskprofiler/platform/secret"
	"github.com/riskprofiler/riskprofiler/services/scanner/providers"
)

// providerEnv are the environment variables that `assess` reads keys for third parties from, as other tools call them.
var providerEnv = []struct{ variable, provider string }{
	{"SHODAN_API_KEY", "shodan"}, {"VT_API_KEY", "virustotal"}, {"VIRUSTOTAL_API_KEY", "virustotal"},
	{"SECURITYTRAILS_API_KEY", "securitytrails"}, {"CERTSPOTTER_API_KEY", "certspotter"},
}

// maxKeyBytes bounds a key that is read, and maxCredentialBytes the JSON of a credential for a cloud once it is in one line: the limits of
// CreateProviderKey. A file may have as much again for its spaces.
const maxKeyBytes, maxCredentialBytes = 512, 4000

// environmentSecrets are the keys of the environment, for one run and in memory only; nil if there are none.
func environmentSecrets(ctx context.Context, env map[string]string) (secret.Store, error) {
	var out *secret.Memory
	for _, e := range providerEnv {
		key := strings.TrimSpace(env[e.variable])
		if key == "" {
			continue
		}
		if len(key) > maxKeyBytes || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return nil, fmt.Errorf("the environment variable %s holds no key: want at most %d printable characters without spaces", e.variable, maxKeyBytes)
		}
		value, err := proto.Marshal(&modelv1.ProviderCredential{Key: key})
		if err != nil {
			return nil, fmt.Errorf("the environment variable %s holds no key", e.variable)
		}
		if out == nil {
			out = &secret.Memory{}
		}
		if err := out.Put(ctx, localTenant, e.provider, value); err != nil {
			return nil, err
		}
	}
	if out == nil {
		return nil, nil
	}
	return out, nil
}

func providerCommands() *cobra.Command {
	parent := family("providers", "Manage third parties that are asked: Shodan, VirusTotal and others", func(add adder) {
		add("quotas", "Show how much of the limits of third parties is used", cobra.NoArgs, func(ctx context.Context, conn grpc.ClientConnInterface, _ []string, p printer) error {
			res, err := scannerv1.NewScannerServiceClient(conn).ListQuotas(ctx, &scannerv1.ListQuotasRequest{})
			if err != nil {
				return err
			}
			if p.json {
				return list(p, res.GetQuotas())
			}
			return list(p, quotaRows(res.GetQuotas()), quotaColumns...)
		})
	})
	parent.AddCommand(providerKeyCommands())
	return parent
}

// quotaRows makes one quota of each limit, for a table.
func quotaRows(quotas []*scannerv1.Quota) []*scannerv1.Quota {
	var out []*scannerv1.Quota
	for _, q := range quotas {
		for _, p := range q.GetPeriods() {
			out = append(out, &scannerv1.Quota{
				Provider: q.GetProvider(), Periods: []*scannerv1.QuotaPeriod{p}, AvailableTime: q.GetAvailableTime(), Problem: q.GetProblem(), LastRequestTime: q.GetLastRequestTime(),
			})
		}
	}
	return out
}

var quotaColumns = []column[*scannerv1.Quota]{
	{"provider", (*scannerv1.Quota).GetProvider},
	{"limit", func(q *scannerv1.Quota) string {
		p := q.GetPeriods()[0]
		return fmt.Sprintf("%d %s a %s", p.GetLimit(), p.GetUnit(), p.GetPeriod())
	}},
	{"used", func(q *scannerv1.Quota) string { return fmt.Sprint(q.GetPeriods()[0].GetUsed()) }},
	{"reset", func(q *scannerv1.Quota) string { return when(q.GetPeriods()[0].GetResetTime()) }},
	{"last request", func(q *scannerv1.Quota) string { return when(q.GetLastRequestTime()) }},
	{"problem", (*scannerv1.Quota).GetProblem},
}

var providerKeyColumns = []column[*accessv1.ProviderKey]{
	{"provider", (*accessv1.ProviderKey).GetProvider},
	{"key", func(k *accessv1.ProviderKey) string { return "..." + k.GetLastFour() }},
	{"updated", func(k *accessv1.ProviderKey) string { return when(k.GetUpdateTime()) }},
	{"by", (*accessv1.ProviderKey).GetUpdatedBy},
	{"limits", func(k *accessv1.ProviderKey) string { return limitsText(k.GetLimits()) }},
}

func limitsText(l *modelv1.ProviderLimits) string {
	var parts []string
	for _, p := range []struct {
		n    uint32
		what string
	}{
		{l.GetRequestsPerMinute(), "requests/minute"}, {l.GetRequestsPerDay(), "requests/day"}, {l.GetRequestsPerMonth(), "requests/month"},
		{l.GetCreditsPerMonth(), "credits/month"},
	} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	if len(parts) == 0 {
		return "the provider's default"
	}
	return strings.Join(parts, ", ")
}

func providerKeyCommands() *cobra.Command {
	return family("keys", "Manage keys for third parties", func(add adder) {
		add("list", "List keys, without the keys themselves", cobra.NoArgs, func(ctx context.Context, conn grpc.ClientConnInterface, _ []string, p printer) error {
			res, err := accessv1.NewAccessServiceClient(conn).ListProviderKeys(ctx, &accessv1.ListProviderKeysRequest{})
			if err != nil {
				return err
			}
			return list(p, res.GetProviderKeys(), providerKeyColumns...)
		})
		var file string
		var replace bool
		limits := &modelv1.ProviderLimits{}
		add("add PROVIDER", "Store a key: certspotter, securitytrails, shodan or virustotal, or the credential for accounts at azure or google; it is read from the terminal or standard input", cobra.ExactArgs(1),
			func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
				key, err := readKey(file, args[0])
				if err != nil {
					return usage(err)
				}
				client := accessv1.NewAccessServiceClient(conn)
				var k *accessv1.ProviderKey
				if replace {
					k, err = client.UpdateProviderKey(ctx, &accessv1.UpdateProviderKeyRequest{Name: named("providerKeys", args[0]), Key: key, Limits: limits})
				} else {
					k, err = client.CreateProviderKey(ctx, &accessv1.CreateProviderKeyRequest{Provider: args[0], Key: key, Limits: limits})
				}
				if err != nil {
					return err
				}
				return list(p, []*accessv1.ProviderKey{k}, providerKeyColumns...)
			}, stringFlag(&file, "key-file", "", "read the key from this file"), func(c *cobra.Command) {
				c.Flags().BoolVar(&replace, "replace", false, "in place of the key that is there")
				c.Flags().Uint32Var(&limits.RequestsPerMinute, "requests-per-minute", 0, "what the plan allows (default the provider's smallest plan)")
				c.Flags().Uint32Var(&limits.RequestsPerDay, "requests-per-day", 0, "what the plan allows in a day")
				c.Flags().Uint32Var(&limits.RequestsPerMonth, "requests-per-month", 0, "what the plan allows in a month")
				c.Flags().Uint32Var(&limits.CreditsPerMonth, "credits-per-month", 0, "credits of the plan in a month")
			})
		add("remove PROVIDER", "Forget a key", cobra.ExactArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, _ printer) error {
			_, err := accessv1.NewAccessServiceClient(conn).DeleteProviderKey(ctx, &accessv1.DeleteProviderKeyRequest{Name: named("providerKeys", args[0])})
			return err
		})
	})
}

// readKey reads a key from a file, the terminal without showing it, or standard input: never from the command line, which other
// users of the machine and the shell's history see.
func readKey(file, provider string) (string, error) {
	if slices.Contains(providers.Clouds, provider) {
		return readCredential(file, provider)
	}
	var raw []byte
	var err error
	switch stdin := int(os.Stdin.Fd()); {
	case file != "":
		var f *os.File
		if f, err = os.Open(file); err == nil {
			raw, err = io.ReadAll(io.LimitReader(f, maxKeyBytes+2))
			err = errors.Join(err, f.Close())
		}
	case term.IsTerminal(stdin):
		_, _ = fmt.Fprintf(os.Stderr, "key for %s: ", provider)
		raw, err = term.ReadPassword(stdin)
		_, _ = fmt.Fprintln(os.Stderr)
	default:
		raw, err = bufio.NewReader(io.LimitReader(os.Stdin, maxKeyBytes+2)).ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if err != nil {
		return "", fmt.Errorf("read key: %w", err)
	}
	key := strings.TrimSpace(string(raw))
	if key == "" || len(key) > maxKeyBytes {
		return "", fmt.Errorf("read key: give it on standard input, at most %d characters, or name a file with --key-file", maxKeyBytes)
	}
	return key, nil
}

// readCredential reads the JSON of a credential from a file or standard input, in one line. The error shows nothing of it.
func readCredential(file, provider string) (string, error) {
	from := io.Reader(os.Stdin)
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("read credential: %w", err)
		}
		defer func() { _ = f.Close() }() // it was only read
		from = f
	}
	raw, err := io.ReadAll(io.LimitReader(from, 2*maxCredentialBytes))
	if err != nil {
		return "", fmt.Errorf("read credential: %w", err)
	}
	var line bytes.Buffer
	if json.Compact(&line, raw) != nil || line.Len() > maxCredentialBytes || line.Len() == 0 || line.Bytes()[0] != '{' {
		return "", fmt.Errorf("read credential: give a JSON object of at most %d characters for %s on standard input, or name a file with --key-file", maxCredentialBytes, provider)
	}
	return line.String(), nil
}
