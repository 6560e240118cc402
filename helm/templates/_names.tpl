{{/* Names and labels. */}}

{{- define "aries-bridge.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 44 | trimSuffix "-" -}}
{{- end -}}

{{/* Of the 63 characters of a label, that of a StatefulSet's revision needs 19 (`-of-1024-` and a hash). */}}
{{- define "aries-bridge.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 44 | trimSuffix "-" -}}
{{- else if contains (include "aries-bridge.name" .) .Release.Name -}}
{{- .Release.Name | trunc 44 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "aries-bridge.name" .) | trunc 44 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The name of the Deployment or StatefulSet. Another number of shards is another StatefulSet: bridges of both would
     publish the same symbols, and a StatefulSet whose number changes starts the new ones first. With standby the bridges
     themselves see to that, and there is one Deployment for any number. */}}
{{- define "aries-bridge.workloadName" -}}
{{- if include "aries-bridge.isStatefulSet" . -}}
{{- printf "%s-of-%d" (include "aries-bridge.fullname" .) (int .Values.shards) -}}
{{- else -}}
{{- include "aries-bridge.fullname" . -}}
{{- end -}}
{{- end -}}

{{- define "aries-bridge.selectorLabels" -}}
app.kubernetes.io/name: {{ include "aries-bridge.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The pods that bridge; those of hooks are other components. */}}
{{- define "aries-bridge.bridgeLabels" -}}
{{ include "aries-bridge.selectorLabels" . }}
app.kubernetes.io/component: bridge
{{- end -}}

{{/* The pods of the Deployment or StatefulSet, without those of another number of shards. */}}
{{- define "aries-bridge.workloadLabels" -}}
{{ include "aries-bridge.bridgeLabels" . }}
{{- if include "aries-bridge.isStatefulSet" . }}
aries-bridge/shards: {{ .Values.shards | int | quote }}
{{- end }}
{{- end -}}

{{- define "aries-bridge.labels" -}}
{{ include "aries-bridge.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What every object says of itself: called with the root, its name, its component and perhaps more. */}}
{{- define "aries-bridge.metadata" -}}
name: {{ .name }}
namespace: {{ .namespace | default .root.Release.Namespace }}
labels:
  {{- include "aries-bridge.labels" .root | nindent 2 }}
  app.kubernetes.io/component: {{ .component | default "bridge" }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "aries-bridge.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "aries-bridge.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* `global.imageRegistry` of a chart above this one replaces the registry of the repository. */}}
{{- define "aries-bridge.image" -}}
{{- $repository := .Values.image.repository -}}
{{- with (.Values.global | default dict).imageRegistry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) (regexReplaceAll "^([^/]*[.:][^/]*|localhost)/" $repository "") -}}
{{- end -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" $repository .digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (.tag | default $.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The Secrets for pulling the image, those of a chart above this one first. */}}
{{- define "aries-bridge.imagePullSecrets" -}}
{{- $names := list -}}
{{- range concat ((.Values.global | default dict).imagePullSecrets | default list) .Values.imagePullSecrets -}}
{{- $names = append $names (kindIs "map" . | ternary . (dict "name" .)).name -}}
{{- end -}}
{{- range uniq $names }}
- name: {{ . }}
{{- end -}}
{{- end -}}

{{/* The annotations of a hook; called with its events and weight. Helm prints the log of one that failed, and keeps it. */}}
{{- define "aries-bridge.before" -}}
helm.sh/hook: {{ .events }}
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
helm.sh/hook-output-log-policy: hook-failed
{{- end -}}

{{/* Kafka's names of the topics, by their names in `kafka.topics.names`. */}}
{{- define "aries-bridge.topics" -}}
{{- $prefix := .Values.kafka.topics.prefix -}}
{{- $suffixes := dict "marketStatus" "market-status" "quotesLatest" "quotes.latest" "tradesLatest" "trades.latest" -}}
{{- range $topic, $name := .Values.kafka.topics.names }}
{{- $isUsed := hasSuffix "Latest" $topic | ternary $.Values.bridge.latest true }}
{{- if eq $topic "shards" | ternary $.Values.standby.enabled $isUsed }}
{{ $topic }}: {{ $name | default (printf "%s.%s" $prefix (get $suffixes $topic | default $topic)) | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The name of a topic's object, as `aries-bridge topics --strimzi` makes it: the topic's own, where Kubernetes takes it. */}}
{{- define "aries-bridge.objectName" -}}
{{- if regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" . -}}
{{- . -}}
{{- else -}}
{{- $labels := list -}}
{{- range splitList "." (lower .) -}}
{{- $labels = append $labels (regexReplaceAll "[^a-z0-9]+" . "-" | trimAll "-") -}}
{{- end -}}
{{- $readable := without $labels "" | join "." | trunc 244 -}}
{{- printf "%s-%s" (regexReplaceAll "[-.]+$" $readable "" | default "topic") (sha256sum . | trunc 8) -}}
{{- end -}}
{{- end -}}
