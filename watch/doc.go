// Package watch tells people what happens while nobody reads the log: Spikes
// raises an event when traffic, or answers that tell of trouble, are far above
// what is usual; a Notifier takes the events that the policy chose to a webhook
// and by mail.
//
// A program that has a ringwall.Server joins them so:
//
//	notifier, err := watch.NewNotifier(p, watch.Deps{})
//	events := audit.Tee(audit.NewLog(log), notifier)
//	srv, err := ringwall.New(p, handler, ringwall.Deps{Audit: events})
//	go notifier.Run(ctx)
//	go watch.NewSpikes(srv.Stats, events).Run(ctx)
package watch
