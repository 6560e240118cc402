{{/* The Jobs that run before a release is installed or upgraded. */}}

{{/* "true" if the service account that the release creates is an identity with which the bridge logs in: a hook cannot
     have another one then. */}}
{{- define "aries-bridge.isIdentity" -}}
{{- $audiences := list -}}
{{- range (include "aries-bridge.mounts" (dict "root" .) | fromYaml).mounts -}}
{{- $audiences = append $audiences (.audience | default "") -}}
{{- end -}}
{{- $isUsed := or .Values.serviceAccount.annotations (without $audiences "") (eq .Values.kafka.security.sasl.mechanism "AWS_MSK_IAM") -}}
{{- if and .Values.serviceAccount.create $isUsed -}}true{{- end -}}
{{- end -}}

{{/* At which events each Job runs, empty where it does not. The check needs what the release itself creates: if that is
     Secrets, topics or an identity, there is nothing to check before the first installation. */}}
{{- define "aries-bridge.hookEvents" -}}
{{- $v := .Values -}}
{{- $always := "pre-install,pre-upgrade" -}}
{{- $identity := include "aries-bridge.isIdentity" . -}}
{{- $creates := or $v.externalSecrets.enabled $v.strimzi.topics.enabled $v.strimzi.user.enabled (ne $identity "") -}}
{{- $topics := ternary $always "" $v.topics.create -}}
{{- $preflight := ternary (ternary "pre-upgrade" $always $creates) "" $v.preflight.enabled -}}
{{- dict "topics" $topics "preflight" $preflight "any" ($topics | default $preflight) | toJson -}}
{{- end -}}

{{- define "aries-bridge.topicsArguments" -}}
{{- $arguments := list "topics" -}}
{{- range $option, $value := dict "--partitions" .Values.topics.partitions "--replication-factor" .Values.topics.replicas "--min-insync-replicas" .Values.topics.minInsyncReplicas "--retention-hours" .Values.topics.retentionHours -}}
{{- if $value -}}
{{- $arguments = append $arguments (printf "%s=%d" $option (int $value)) -}}
{{- end -}}
{{- end -}}
{{- toJson $arguments -}}
{{- end -}}

{{/* A Job; called with what the pod's settings need, name, events, weight, retries, and its container. */}}
{{- define "aries-bridge.job" -}}
apiVersion: batch/v1
kind: Job
metadata:
  {{- $before := include "aries-bridge.before" . | fromYaml }}
  {{- include "aries-bridge.metadata" (dict "root" .root "name" (printf "%s-%s" (include "aries-bridge.fullname" .root) .name) "component" .name "annotations" $before) | nindent 2 }}
spec:
  backoffLimit: {{ .retries }}
  # Below the five minutes for which Helm waits.
  activeDeadlineSeconds: 240
  # One that failed is kept for its log, but not for ever: Helm does not delete it with the release.
  ttlSecondsAfterFinished: 86400
  template:
    metadata:
      labels:
        {{- include "aries-bridge.selectorLabels" .root | nindent 8 }}
        app.kubernetes.io/component: {{ .name }}
        {{- with merge (dict) .root.Values.podLabels .root.Values.commonLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with merge (dict) .root.Values.podAnnotations .root.Values.commonAnnotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      restartPolicy: Never
      {{- include "aries-bridge.podSettings" . | trim | nindent 6 }}
      containers:
        - name: {{ .name }}
          {{- .container | nindent 10 }}
{{- end -}}
